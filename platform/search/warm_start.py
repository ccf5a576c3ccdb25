"""What a search starts from: outcomes of earlier launches, and points to try first, as the journal has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nmlab.platform.records.events import JournalRecord, WarmStarted
from nmlab.platform.records.payloads import KnownOutcomeRecord
from nmlab.platform.search.initial_points import Given
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun
from nmlab.trials.contract.values import Scalar

WARM_STARTED_FROM = "nmlab:warm start from"
"""The user attribute of an Optuna trial that is a configuration of an earlier launch: the launch's name."""


@dataclass(frozen=True)
class WarmStart:
    """What a search starts from.

    Attributes:
        known_outcomes: of configurations of earlier launches, which the search is told.
        points: searched values, which it tries first, after the initial points of the study.
    """

    known_outcomes: Sequence[KnownOutcomeRecord] = ()
    points: Sequence[Mapping[str, Scalar]] = ()

    def points_in(self, study: Study) -> list[Configuration]:
        """Return the points that lie in the space of a study, which an extension may have changed."""
        found = (point_in(study, point) for point in self.points)
        return [point for point in found if point is not None]


COLD = WarmStart()
"""Nothing: a search that begins from its own points."""


def warm_start_of(records: Iterable[JournalRecord]) -> WarmStart:
    """Return what the journal of a launch says that its search starts from."""
    found = next((record for record in records if isinstance(record, WarmStarted)), None)
    return COLD if found is None else WarmStart(found.entered, found.points)


def outcome_from(record: KnownOutcomeRecord) -> Outcome:
    """Return an outcome as a search strategy is told it."""
    return Outcome(
        record.get("values"),
        pruned=record.get("pruned", False),
        intermediate={int(step): value for step, value in record.get("intermediate", {}).items()},
        constraints=record.get("constraints", {}),
        attributes={"seeds": ", ".join(map(str, record["seeds"]))},
    )


def point_in(study: Study, settings: Mapping[str, Scalar]) -> Configuration | None:
    """Return the searched values of a study that some settings name; None if one of them lies outside of its space."""
    given = Given(settings)
    if settings.get("method", study.methods[0]) not in study.methods:
        return None
    try:
        DefineByRun(study)(given)
    except ValueError:
        return None
    return given.asked
