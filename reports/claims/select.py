"""Which configurations of a study a claim speaks about."""

from collections.abc import Iterable, Sequence

from nmlab.reports.claims.claim import EXTREMES, Selector
from nmlab.reports.configurations import Configuration, evaluation_setting
from nmlab.reports.contrasts import Side, best_side
from nmlab.reports.frame import Value


class NotTestableError(Exception):
    """The study did not run what the claim needs; the message says what is missing."""


def chosen(selector: Selector, *, configurations: Sequence[Configuration], metric: str) -> Side:
    """Return the best complete configuration that a selector fits, or one of which every run diverged.

    Raises:
        NotTestableError: nothing fits, or what fits did not finish.
    """
    fitting = [item for item in configurations if fits(item, selector, configurations=configurations)]
    if not fitting:
        raise NotTestableError(f"{selector.text} was not run")
    complete = [Side(item) for item in fitting if item.is_complete and Side(item).values(metric)]
    if complete:
        return best_side(complete, metric=metric) or complete[0]
    diverged = [item for item in fitting if has_diverged(item)]
    if len(diverged) == len(fitting):
        return Side(diverged[0])
    raise NotTestableError(f"{selector.text} has no configuration of which every seed finished with {metric}")


def fits(item: Configuration, selector: Selector, *, configurations: Sequence[Configuration]) -> bool:
    """Return whether a configuration is one that a selector means."""
    if item.method != selector.method or (selector.pattern is not None and item.pattern != selector.pattern):
        return False
    return all(
        _same(item.settings.get(name), _wanted(value, name, item, configurations))
        for name, value in selector.settings.items()
    )


def values_of(setting: str, *, method: str, configurations: Iterable[Configuration]) -> tuple[Value, ...]:
    """Return the values of a setting that a method was run with, in order."""
    found = {item.settings[setting] for item in configurations if item.method == method and setting in item.settings}
    return tuple(sorted(found, key=lambda value: (isinstance(value, str), value)))


def has_diverged(item: Configuration) -> bool:
    """Return whether every run of a configuration left the finite numbers."""
    return item.count("diverged") == len(item.trials) > 0


def refuse_unlike(sides: Iterable[Side]) -> None:
    """Refuse to compare what was not evaluated alike.

    Raises:
        NotTestableError: the sides differ in model or evaluation text.
    """
    if len({evaluation_setting(side.item) for side in sides}) > 1:
        raise NotTestableError("the sides were not evaluated with the same model and text")


def _wanted(value: Value, name: str, item: Configuration, configurations: Sequence[Configuration]) -> Value:
    """Return the value that ``largest`` and ``smallest`` stand for among the runs of one method and pattern.

    Raises:
        NotTestableError: the setting has a single value there, so that it has no extremes.
    """
    if value not in EXTREMES:
        return value
    peers = [other for other in configurations if other.pattern == item.pattern]
    values = values_of(name, method=item.method, configurations=peers)
    if len(values) < 2:
        raise NotTestableError(f"{name} was not varied")
    return values[-1] if value == "largest" else values[0]


def _same(own: Value | None, wanted: Value) -> bool:
    if own is None:
        return False
    if isinstance(own, str) or isinstance(wanted, str | bool):
        return str(own).lower() == str(wanted).lower()
    return float(own) == float(wanted)
