"""Which configurations of a launch are meant: by key, method, settings, or as the best of the search.

A selector is written behind a launch and a colon: ``maskpro``, ``maskpro,alpha=0.97``, ``best`` or ``3fa2b1c4``.
"""

import re
from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, best_of, searched
from nmlab.reports.analysis.settings import ATTRIBUTES, setting_of, value_text
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.typed_text import Value
from nmlab.trials.contract.near_names import unknown_name

BEST = "best"
_LEAST = 6  # characters of an abbreviated key
_KEY = re.compile(rf"[0-9a-f]{{{_LEAST},64}}")


def selected(configurations: Sequence[Configuration], *, selector: str, of: str) -> tuple[Configuration, ...]:
    """Return the configurations that fit every term of a selector, in the order given; all for an empty one.

    Args:
        configurations: of one launch, or of pooled ones, best first.
        selector: terms joined by commas: a method, a key or its beginning, ``best``, or ``name=value`` of a setting,
            ``method``, ``pattern`` or ``role``.
        of: whose configurations these are, for messages.

    Raises:
        ReportError: an unknown name, with the nearest; or terms that no configuration fits.
    """
    found = tuple(configurations)
    terms = [term.strip() for term in selector.split(",") if term.strip()]
    for term in sorted(terms, key=lambda term: term == BEST):  # the best of what the others leave
        kept = _fitting(found, term, known=configurations)
        if not kept:
            raise ReportError(f"no configuration of {of} fits {selector!r}: {_why_none(found, term)}")
        found = kept
    return found


def _fitting(found: Sequence[Configuration], term: str, *, known: Sequence[Configuration]) -> tuple[Configuration, ...]:
    name, equals, value = (part.strip() for part in term.partition("="))
    if equals:
        names = {*ATTRIBUTES, "role", *(name for item in known for name in item.settings)}
        if name not in names:
            raise ReportError(unknown_name(name, kind="setting", known=names))
        return tuple(item for item in found if _is_value(_value_of(item, name), value))
    if term == BEST:
        best = best_of(searched(found))
        return () if best is None else (best,)
    methods = {item.method for item in known}
    if term in methods:
        return tuple(item for item in found if item.method == term)
    if _KEY.fullmatch(term) and (of_key := [item for item in known if item.key.startswith(term)]):
        if len(of_key) > 1:
            raise ReportError(
                f"{term!r} may mean configuration {of_key[0].key} or {of_key[1].key}; give more characters"
            )
        return tuple(item for item in found if item is of_key[0])
    expected = f"expected a method ({', '.join(sorted(methods))}), a configuration's key, {BEST!r} or NAME=VALUE"
    raise ReportError(unknown_name(term, kind="selection", known={*methods, BEST}, expected=expected))


def _value_of(item: Configuration, name: str) -> Value | None:
    return item.role if name == "role" else setting_of(item, name=name)


def _is_value(value: Value | None, text: str) -> bool:
    """Return whether a setting has a value that is written as this text, numbers in any notation."""
    if value is None or isinstance(value, str):
        return value == text
    try:
        return float(value) == float(text)
    except ValueError:
        return False


def _why_none(found: Sequence[Configuration], term: str) -> str:
    name, equals, value = (part.strip() for part in term.partition("="))
    if not equals:
        return "no searched configuration has a value" if term == BEST else f"none is {term}"
    values = dict.fromkeys(value_text(own) for item in found if (own := _value_of(item, name)) is not None)
    shown = ", ".join(list(values)[:8]) or "not set"
    return f"{name} is {shown}{' and others' if len(values) > 8 else ''}, never {value}"
