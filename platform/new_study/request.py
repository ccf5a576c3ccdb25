"""What a new study is asked for, and whether that can be: all that is known without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.durations import duration_meant, seconds_of
from nmlab.search_spaces.schema.study import SLUG
from nmlab.trials.contract.pattern import Pattern, expected_pattern
from nmlab.trials.contract.wording import either, shown
from nmlab.trials.methods import registry

ADVISED = ("maskpro", "susi", "soft_topn")
"""The methods whose ranges are known at more than one size of model; see `ranges.py`."""
_MOST_TEXTS = 3


@dataclass(frozen=True)
class NewStudyRequest:
    """What a study is to be written for.

    Attributes:
        name: of the study and of its MLflow experiment.
        model: ``builtin:tiny``, a Hugging Face folder, or a hub id.
        texts: one that is cut into three; or one to learn and to choose on, and one to report; or one for each.
        pattern: N:M.
        method: one of ``ADVISED``.
        budget: how long the launch may take, as ``2h``.
        column: of the texts, where they have columns.
        leave_dense: weights of decoder blocks to leave without a mask.
    """

    name: str
    model: str
    texts: tuple[str, ...]
    pattern: str = "2:4"
    method: str = "maskpro"
    budget: str = "2h"
    column: str | None = None
    leave_dense: tuple[str, ...] = ()

    @property
    def budget_seconds(self) -> int:
        """The budget in seconds."""
        return seconds_of(self.budget)

    def check(self) -> None:
        """Raise ``ValueError`` with one line about the first thing that cannot be."""
        if not SLUG.fullmatch(self.name):
            expected = "lower-case letters and digits, joined by hyphens, for example my-study"
            raise ValueError(f"name {shown(self.name)}: expected {expected}")
        if self.name in loader.packaged():
            raise ValueError(f"name {shown(self.name)}: a study that comes with nmlab is called so; expected another")
        self._check_method()
        self._check_pattern()
        if not self.budget_seconds:
            expected = f"a duration such as 45s, 30m or 1h30m{duration_meant(self.budget)}"
            raise ValueError(f"budget {shown(self.budget)}: expected {expected}")
        _check_texts(self.texts)

    def _check_method(self) -> None:
        learned = registry.get(self.method).learned
        if self.method in ADVISED:
            return
        why = "the ranges of its hyperparameters are not known here" if learned else "it learns nothing to search for"
        raise ValueError(f"method {shown(self.method)}: {why}; expected {either(ADVISED)}")

    def _check_pattern(self) -> None:
        try:
            pattern = Pattern.parse(self.pattern)
        except ValueError:
            raise ValueError(f"pattern {shown(self.pattern)}: {expected_pattern(self.pattern)}") from None
        if pattern.n == pattern.m:
            raise ValueError(f"pattern {shown(self.pattern)}: expected N below M, for example 2:4")


def _check_texts(texts: Sequence[str]) -> None:
    if not 1 <= len(texts) <= _MOST_TEXTS:
        expected = "one, which is cut into three; or one to learn from and one to report on; or three"
        raise ValueError(f"text: {len(texts)} are given; expected {expected}")
    if len(set(texts)) < len(texts):
        raise ValueError("text: one is given twice; expected texts that do not overlap")
