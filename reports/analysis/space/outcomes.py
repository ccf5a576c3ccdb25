"""Where in the space runs ended early: finished, stopped, diverged and failed runs by the value of each setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.settings import distinguishing, setting_of
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.read.typed_text import Value
from nmlab.trials.contract.run_status import WITH_ERROR, TrialStatus


class Outcome(StrEnum):
    """How a run ended, as a reader of the space asks: the first is what a search hopes for."""

    FINISHED = "ran to the end"
    STOPPED_EARLY = "stopped early"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class OutcomePoint:
    """The runs of one configuration that ended alike: its value of the setting, and which runs."""

    key: str
    value: Value
    outcome: Outcome
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettingOutcomes:
    """One setting with a point for each configuration and each way in which runs of it ended."""

    name: str
    points: tuple[OutcomePoint, ...]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The settings that varied with the outcomes that occurred, or the reason why there is nothing to show."""

    kinds: tuple[Outcome, ...]
    settings: tuple[SettingOutcomes, ...]
    runs: tuple[int, ...] = ()
    skipped: str = ""


def outcomes_of(configurations: Sequence[Configuration]) -> Outcomes:
    """Return how the runs of the search ended, by each setting that varied; ``runs`` counts those of each kind."""
    tried = searched(configurations)
    ended = {item.key: _by_outcome(item.trials) for item in tried}
    counts = {kind: sum(len(own.get(kind, ())) for own in ended.values()) for kind in Outcome}
    kinds = tuple(kind for kind in Outcome if counts[kind])
    names = distinguishing(tried)
    if set(kinds) <= {Outcome.FINISHED}:
        return Outcomes((), (), skipped="no run of the search was stopped early, diverged or failed")
    if not names:
        return Outcomes((), (), skipped="nothing varied between the configurations")
    settings = tuple(_setting(name, tried, ended) for name in names)
    return Outcomes(kinds, settings, tuple(counts[kind] for kind in kinds))


def outcome_of(trial: TrialRecord) -> Outcome | None:
    """Return how a run of a search ended; None for one that has not ended, or that a person stopped."""
    if trial.is_finished:
        return Outcome.FINISHED
    if trial.is_pruned:
        return Outcome.STOPPED_EARLY
    if trial.status == TrialStatus.DIVERGED:
        return Outcome.DIVERGED
    return Outcome.FAILED if trial.status in WITH_ERROR else None


def _by_outcome(trials: Sequence[TrialRecord]) -> dict[Outcome, tuple[str, ...]]:
    found: dict[Outcome, tuple[str, ...]] = {}
    for trial in trials:
        outcome = outcome_of(trial)
        if outcome is not None:
            found[outcome] = (*found.get(outcome, ()), trial.run_id)
    return found


def _setting(
    name: str, tried: Sequence[Configuration], ended: dict[str, dict[Outcome, tuple[str, ...]]]
) -> SettingOutcomes:
    points = []
    for item in tried:
        value = setting_of(item, name=name)
        if value is not None:
            points += [OutcomePoint(item.key, value, kind, run_ids) for kind, run_ids in ended[item.key].items()]
    return SettingOutcomes(name, tuple(points))
