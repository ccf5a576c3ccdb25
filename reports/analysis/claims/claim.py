"""The claims of the papers as data: the statement, its source, and the test that decides it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

CLAIMS = Path(__file__).with_name("claims.yaml")
EXTREMES = ("largest", "smallest")


class Strict(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Selector(Strict):
    """Selects the configurations of one side of a test."""

    method: str
    pattern: str | None = None
    settings: Mapping[str, bool | int | float | str] = Field(default_factory=dict)

    @property
    def text(self) -> str:
        """The side in a few words: ``maskpro 2:4, alpha=0.99``."""
        name = f"{self.method} {self.pattern}" if self.pattern else self.method
        return ", ".join([name, *(f"{key}={value}" for key, value in self.settings.items())])


class OrderTest(Strict):
    """Sides from best to worst."""

    kind: Literal["order"]
    sides: tuple[Selector, ...] = Field(min_length=2)
    metric: str | None = None


class BeatsTest(Strict):
    """One side better than each of several others, all of which must have been run."""

    kind: Literal["beats"]
    side: Selector
    others: tuple[Selector, ...] = Field(min_length=1)
    metric: str | None = None


class ChoiceTest(Strict):
    """One value of a setting better than all others: those of the paper, those planned and those that were run."""

    kind: Literal["choice"]
    method: str
    setting: str
    value: float | str
    others: tuple[float | str, ...] = ()
    metric: str | None = None


class FlatTest(Strict):
    """Every value of a setting within a relative margin of the largest one: an equivalence test."""

    kind: Literal["flat"]
    method: str
    setting: str
    margin: float = Field(gt=0, lt=1)
    metric: str | None = None


class ImprovesTest(Strict):
    """Learned masks better than their own initial masks: those of the paper, those planned and those that were run."""

    kind: Literal["improves"]
    method: str
    starts: tuple[str, ...] = ()
    metric: str | None = None


class RatioTest(Strict):
    """A quantity of one side over another's, equal to a value within a tolerance; exact where it is counted."""

    kind: Literal["ratio"]
    side: Selector
    other: Selector
    metric: str
    value: float
    tolerance: float = 0.01


class DominatesTest(Strict):
    """One part of a step's time larger than the sum of the others, over repeated timings (one for each seed)."""

    kind: Literal["dominates"]
    method: str
    part: str
    others: tuple[str, ...]


class OverlapTest(Strict):
    """Masks of one side overlap more with the nearest than with any of the others."""

    kind: Literal["overlap"]
    side: Selector
    nearest: Selector
    others: tuple[Selector, ...]


Test = Annotated[
    OrderTest | BeatsTest | ChoiceTest | FlatTest | ImprovesTest | RatioTest | DominatesTest | OverlapTest,
    Field(discriminator="kind"),
]


class PaperClaim(Strict):
    """One claim: ``items`` are the published tables and figures that it summarises, or a study of nmlab's own."""

    id: str
    paper: Literal["maskpro", "susi", "nmlab"]
    items: tuple[str, ...] = Field(min_length=1)
    says: str
    scale: Literal["strong", "medium", "weak"]
    test: Test


@cache
def claims() -> Mapping[str, PaperClaim]:
    """Return every claim by name, in the order of the papers."""
    records = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    return {record["id"]: PaperClaim.model_validate(record) for record in records}
