"""Configurations: the replicates (seeds) of one setting, their order, and which of them are comparable.

All tables, figures and sentences of a report use these values, so that they agree.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.read.typed_text import Value
from nmlab.reports.statistics import MeanEstimate, mean_interval, paired_difference
from nmlab.search_spaces.schema.constraints import is_feasible
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role

GROUPS_IN_WORDS = 4  # that have a sentence each
GROUPED_BY = (run_params.MODEL, run_params.EVALUATION)


@dataclass(frozen=True)
class Configuration:
    """One configuration and all its runs; derived values are computed once.

    Attributes:
        key: the configuration's hash, the same for all its seeds.
        settings: its parameters, typed, without method, pattern and seed.
        trials: its runs, by seed, duplicates left out; of the search alone where it was run again on fresh seeds.
        expected: how many runs it should have, as others of its method and role do; 0 where that is not known.
        confirmation: the same configuration on fresh seeds, which took no part in the search; None without such runs.
    """

    key: str
    method: str
    pattern: str
    role: str
    settings: Mapping[str, Value]
    trials: tuple[TrialRecord, ...]
    objective: Objective
    expected: int = 0
    confirmation: "Configuration | None" = None

    @cached_property
    def finished(self) -> tuple[TrialRecord, ...]:
        """Its finished runs."""
        return tuple(trial for trial in self.trials if trial.is_finished)

    @property
    def is_dense(self) -> bool:
        """Whether this is the model without a mask, which never competes with masks."""
        return self.method == "dense"

    @property
    def is_baseline(self) -> bool:
        """Whether this configuration was run for comparison and not searched."""
        return self.role == Role.BASELINE

    @cached_property
    def is_validated(self) -> bool:
        """Whether its finished runs, and the masks that they started from, were measured on validation text."""
        return any(trial.is_validated for trial in self.finished)

    @cached_property
    def is_learned(self) -> bool:
        """Whether its finished runs started from a mask of their own and learned another."""
        return any(self.objective.initial in trial.metrics for trial in self.finished)

    @cached_property
    def depends_on_seed(self) -> bool:
        """Whether the result depends on the seed: as recorded, else true if it was learned or ran several times."""
        recorded = {trial.depends_on_seed for trial in self.trials} - {run_tags.UNKNOWN}
        if recorded:
            return run_tags.TRUE in recorded
        return self.is_learned or len(self.trials) > 1

    @cached_property
    def is_complete(self) -> bool:
        """Whether every expected run finished, so that its mean includes all seeds."""
        return len(self.finished) == self.runs_in_all > 0

    @cached_property
    def breaks_constraint(self) -> bool:
        """Whether a finished run breaks a constraint of the search, so that it cannot be the best; no baseline does."""
        constraints = () if self.is_baseline else self.objective.constraints
        return bool(self.finished) and not is_feasible(constraints, [trial.metrics for trial in self.finished])

    @property
    def runs_in_all(self) -> int:
        """How many runs it has or should have, those that never began included."""
        return max(self.expected, len(self.trials))

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        """All its runs, by seed."""
        return tuple(trial.run_id for trial in self.trials)

    @cached_property
    def selection(self) -> MeanEstimate | None:
        """The searched metric of its finished runs, by which configurations are selected."""
        return self.estimate(self.objective.metric)

    @cached_property
    def value(self) -> MeanEstimate | None:
        """The metric of its finished runs that is reported and compared."""
        return self.estimate(self.objective.reported)

    @cached_property
    def initial(self) -> MeanEstimate | None:
        """The searched metric of its finished runs' own initial masks."""
        return self.estimate(self.objective.initial)

    @cached_property
    def gain(self) -> MeanEstimate | None:
        """Learned minus own initial mask in the searched metric, paired by seed.

        Both are measured on the text of the start. None where it is not learned or a value is not finite.
        """
        if not self.is_learned:
            return None
        values = (
            (trial.metric(self.objective.metric), trial.metric(self.objective.initial)) for trial in self.finished
        )
        pairs = [(after, before) for after, before in values if not math.isnan(before)]
        if not all(math.isfinite(before) for _, before in pairs):
            return None
        return paired_difference([after for after, _ in pairs], before=[before for _, before in pairs])

    @property
    def as_reported(self) -> "Configuration":
        """The runs that results rest on: those on fresh seeds where one of them finished, else those of the search."""
        return self.confirmation if self.confirmation is not None and self.confirmation.finished else self

    @property
    def is_confirmed(self) -> bool:
        """Whether a run on fresh seeds finished."""
        return self.confirmation is not None and bool(self.confirmation.finished)

    @property
    def is_confirmation(self) -> bool:
        """Whether these are the runs on fresh seeds of a configuration."""
        return any(trial.is_confirmation for trial in self.trials)

    @property
    def every_trial(self) -> tuple[TrialRecord, ...]:
        """Its runs of the search and then those on fresh seeds."""
        return self.trials if self.confirmation is None else (*self.trials, *self.confirmation.trials)

    def count(self, *statuses: str) -> int:
        """Return how many of its runs ended with one of these statuses."""
        return sum(trial.status in statuses for trial in self.trials)

    @property
    def pruned(self) -> int:
        """How many of its runs the search stopped before all their steps, because others did better."""
        return sum(trial.is_pruned for trial in self.trials)

    def by_run(self, metric: str) -> dict[str, float]:
        """Return a metric of its finished runs by run id; runs without a value are left out."""
        return {trial.run_id: trial.metrics[metric] for trial in self.finished if metric in trial.metrics}

    def runs_with(self, metric: str) -> tuple[str, ...]:
        """Return the finished runs that have a value of this metric."""
        return tuple(self.by_run(metric))

    def highest(self, metric: str) -> float | None:
        """Return the highest value of a metric over its finished runs, or None where none has one."""
        return max(self.by_run(metric).values(), default=None)

    def estimate(self, metric: str) -> MeanEstimate | None:
        """Return the mean of a metric over its finished runs, or None where it has no finite mean."""
        values = list(self.by_run(metric).values())
        return mean_interval(values) if values and all(map(math.isfinite, values)) else None


def configurations_of(runs: StudyRuns) -> tuple[Configuration, ...]:
    """Return every configuration of a launch, group by group of comparable ones.

    Within a group the best by the searched metric comes first; configurations with unfinished runs follow the complete
    ones, and those that break a constraint of the search follow both. Runs on fresh seeds count in none of this.
    """
    own, fresh = (_by_configuration(runs, is_confirmation=is_fresh) for is_fresh in (False, True))
    expected = max(runs.fresh_seeds, *map(len, fresh.values()), 0)
    again = {
        key: replace(_configuration(trials, runs.objective), expected=runs.expected.get((key, True), expected))
        for key, trials in fresh.items()
    }
    items = {key: replace(item, trials=(), expected=0) for key, item in again.items()}
    items |= {key: _configuration(trials, runs.objective) for key, trials in own.items()}
    found = [replace(items[key], confirmation=again.get(key)) for key in sorted(items)]
    known = [
        replace(item, expected=runs.expected.get((item.key, False), item.expected)) for item in _with_expected(found)
    ]
    return tuple(sorted(known, key=_order))


def _by_configuration(runs: StudyRuns, *, is_confirmation: bool) -> dict[str, list[TrialRecord]]:
    found: dict[str, list[TrialRecord]] = {}
    for trial in runs.trials:
        if trial.status != TrialStatus.DUPLICATE and trial.is_confirmation is is_confirmation:
            found.setdefault(trial.configuration, []).append(trial)
    return found


def _order(item: Configuration) -> tuple[tuple[str, ...], bool, bool, bool, float, str]:
    sign = 1.0 if item.objective.mode == "min" else -1.0
    mean = sign * item.selection.mean if item.selection else 0.0
    is_last = item.selection is None
    return (comparable_group(item), is_last, item.breaks_constraint, not item.is_complete, mean, item.key)


def _with_expected(found: Sequence[Configuration]) -> list[Configuration]:
    """Set the expected runs of each configuration: the most of any with its method, pattern and role."""
    most: dict[tuple[str, str, str], int] = {}
    for item in found:
        kind = (item.method, item.pattern, item.role)
        most[kind] = max(most.get(kind, 0), len(item.trials))
    return [replace(item, expected=most[item.method, item.pattern, item.role]) for item in found]


def searched(configurations: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """Return the configurations that the search tried, in the order given."""
    return tuple(item for item in configurations if not item.is_baseline)


def baselines(configurations: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """Return the configurations that were run for comparison, dense first, then in the order given."""
    return tuple(sorted((item for item in configurations if item.is_baseline), key=lambda item: not item.is_dense))


def ranks(configurations: Sequence[Configuration]) -> dict[str, int]:
    """Return the rank, from 1, within its group of each searched configuration with all its runs finished.

    Configurations that break a constraint have none.
    """
    complete = (item for item in searched(configurations) if item.is_complete)
    groups = groups_of(item for item in complete if not item.breaks_constraint)
    return {item.key: place for members in groups.values() for place, item in enumerate(members, start=1)}


def looked_at(configurations: Sequence[Configuration]) -> dict[str, int]:
    """Return for each searched configuration among how many of its group it was looked at, itself included."""
    groups = groups_of(searched(configurations))
    return {item.key: len(members) for members in groups.values() for item in members}


def comparable_group(item: Configuration) -> tuple[str, ...]:
    """Return what two masks must share for their numbers to be compared: pattern, model and evaluation data."""
    return (item.pattern, *evaluation_setting(item))


def competing_group(item: Configuration) -> tuple[str, ...] | None:
    """Return the group in which a mask competes for the best; None for the dense model and where a seed is missing.

    None also for a mask that breaks a constraint of the search.
    """
    competes = item.is_complete and not item.is_dense and not item.breaks_constraint
    return comparable_group(item) if competes else None


def evaluation_setting(item: Configuration) -> tuple[str, ...]:
    """Return model and evaluation data, which the dense model shares with the masks it is compared with."""
    return tuple(f"{name}={value}" for name, value in sorted(item.settings.items()) if name.startswith(GROUPED_BY))


def groups_of(configurations: Iterable[Configuration]) -> dict[tuple[str, ...], list[Configuration]]:
    """Return the configurations that may be compared with each other, dense left out, groups sorted."""
    groups: dict[tuple[str, ...], list[Configuration]] = {}
    for item in configurations:
        if not item.is_dense:
            groups.setdefault(comparable_group(item), []).append(item)
    return dict(sorted(groups.items()))


def group_name(group: tuple[str, ...], *, groups: Iterable[tuple[str, ...]]) -> str:
    """Return what distinguishes a group from the others: its pattern, or the model or text it was evaluated on."""
    others = list(groups)
    return ", ".join(part for part in group if not all(part in other for other in others))


def best_of(configurations: Sequence[Configuration]) -> Configuration | None:
    """Return the first configuration with a mean of the searched metric that breaks no constraint of the search.

    The configurations are ordered as by `configurations_of`.
    """
    return next((item for item in configurations if item.selection is not None and not item.breaks_constraint), None)


def _configuration(trials: Sequence[TrialRecord], objective: Objective) -> Configuration:
    first = trials[0]
    return Configuration(
        key=first.configuration,
        method=first.method,
        pattern=first.pattern,
        role=first.role,
        settings=first.settings,
        trials=tuple(trials),
        objective=objective,
    )
