"""The neutral texts of a study: a list of sources, each with a name of its own in metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Discriminator, Tag

from nmlab.trials.contract.sections import EvaluationSpec, NeutralSpec, Section, Windowing
from nmlab.trials.contract.values import Column, Count, Length, Text, TextName
from nmlab.trials.contract.wording import shown

_SLICE = re.compile(r"\[[\d%]*:[\d%]*\]$")
_ENDINGS = re.compile(r"\.(txt|text|md|jsonl|ndjson|json|csv|tsv|parquet|arrow)(\.(gz|bz2|xz))?$", re.IGNORECASE)
_NAMELESS = re.compile(r"[*.]+")


class NeutralText(Section):
    """A text neutral to the calibration text, cut into windows as the evaluation text is unless it says otherwise."""

    source: Text
    """`builtin:*`, a text or JSONL file, or the hub id of a dataset."""
    name: TextName | None = None
    """Its name in metrics, as in `neutral/NAME/perplexity`; null makes one of the source."""
    split: Text | None = None
    """Split of a hub dataset; null takes the source's own choice."""
    column: Column | None = None
    """Column that holds the text; null takes the source's own choice."""
    windowing: Windowing | None = None
    """`joined` or `rolling`; null is as in the evaluation."""
    sequence_length: Length | None = None
    """Tokens in a window; null is as in the evaluation."""
    windows: Count | None = None
    """Largest number of windows; null is as in the evaluation."""
    batch_size: Count | None = None
    """Windows in a forward pass; null is as in the evaluation."""

    @property
    def called(self) -> str:
        """Its name, given or made of its source; "" where the source makes none."""
        return self.name or name_of_source(self.source)

    def cut_as(self, evaluation: EvaluationSpec) -> NeutralSpec:
        """Return the text as trials have it, cut as the evaluation text is where it does not say otherwise."""
        given = self.model_dump(exclude_none=True)
        cut = {name: getattr(evaluation, name) for name in ("windowing", "sequence_length", "windows", "batch_size")}
        return NeutralSpec(**{**cut, **given, "name": self.called})


def _name_or_mapping(value: object) -> str:
    return "<name>" if isinstance(value, str) else "<mapping>"


NeutralItem = Annotated[
    Annotated[Text, Tag("<name>")] | Annotated[NeutralText, Tag("<mapping>")], Discriminator(_name_or_mapping)
]
"""An entry of `data.neutral`: a source alone, or with settings."""


def neutral_text(item: NeutralItem) -> NeutralText:
    """Return an entry as a text."""
    return NeutralText(source=item) if isinstance(item, str) else item


def name_of_source(source: str) -> str:
    """Return a name for metrics: ``python-docs`` of ``builtin:python-docs``, ``news`` of ``texts/news.jsonl.gz[:50%]``.

    It is the last part of the path with letters in it, of a hub id with its configuration (``c4-en`` of
    ``allenai/c4:en``); "" where nothing is left. Trial keys depend on these names, so they are kept.
    """
    place = _SLICE.sub("", source).removeprefix("builtin:")
    parts = [part for part in place.split("/") if part and not _NAMELESS.fullmatch(_ENDINGS.sub("", part))]
    last = _ENDINGS.sub("", parts[-1]) if parts else ""
    return re.sub(r"[^a-z0-9]+", "-", last.casefold()).strip("-")


def problems(items: Sequence[NeutralItem]) -> Iterator[str]:
    """Yield one line for each neutral text whose name is missing, or is that of an earlier one."""
    seen: dict[str, int] = {}
    for place, item in enumerate(items):
        text = neutral_text(item)
        name = text.called
        where = f"data.neutral[{place}] {shown(text.source)}"
        if not name:
            yield f"{where}: expected a name, as in {{name: news, source: {text.source}}}"
        elif name in seen:
            yield f"{where}: {name!r} is the name of data.neutral[{seen[name]}] already; expected another name"
        seen.setdefault(name, place)
