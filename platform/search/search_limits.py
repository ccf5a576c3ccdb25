"""When a search proposes nothing more: no improvement beyond noise, or a budget of the launch that is used up.

It is a function of the launch's journal, so a process that resumes a launch decides as the earlier process did. Once it
is chosen what confirms the search, the decision stays: what the confirmation costs does not change it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nmlab.platform.records.events import ConfirmationChosen, JournalRecord, TrialEnded, TrialSubmitted
from nmlab.platform.records.payloads import ResultRecord
from nmlab.platform.search.launch_costs import LaunchCosts, limits_of
from nmlab.platform.search.no_improvement import EndedConfiguration, without_improvement
from nmlab.search_spaces.schema.constraints import is_feasible
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec


@dataclass(eq=False)
class _Begun:
    """A configuration of the search of which a trial was submitted, and the ends of its trials."""

    pattern: str
    keys: tuple[str, ...]
    results: dict[str, ResultRecord] = field(default_factory=dict)

    @property
    def finished(self) -> list[str]:
        return [key for key, result in self.results.items() if result["status"] == TrialStatus.FINISHED]


@dataclass(frozen=True)
class ToConfirm:
    """What will confirm a search, as far as it is planned.

    Attributes:
        trials: of the best configurations.
        baselines: the keys of the trials of each baseline that is confirmed too.
        seeds: on which each of these baselines runs.
    """

    trials: int = 0
    baselines: tuple[tuple[str, ...], ...] = ()
    seeds: int = 0


class SearchLimits:
    """Follows a launch's journal and says whether, and why, its search proposes nothing more.

    Args:
        study: its newest version.
        seeds: of the search.
        baselines: keys of trials with these seeds that do not belong to the search.
        configurations: how many the search tries if nothing stops it.
        version: the newest version of the study that changed the search, or its limits.
        to_confirm: what will confirm the search; the budget is kept for it.

    Attributes:
        reason: why nothing more is proposed; "" while the search goes on.
    """

    def __init__(
        self,
        study: Study,
        *,
        seeds: Sequence[int],
        baselines: Iterable[str],
        configurations: int,
        version: int = 1,
        to_confirm: ToConfirm | None = None,
    ) -> None:
        search, total = study.search, study.budget.total
        self._patience = None if search.stop is None else search.stop.no_improvement
        self._budget = {} if total is None else limits_of(total.model_dump())
        self._metric, self._mode, self._constraints = search.metrics[0], search.modes[0], search.all_constraints
        self._seeds, self._baselines, self._version = tuple(seeds), frozenset(baselines), version
        self._configurations, self._runs_each = configurations, len(study.seeds)
        self._to_confirm = to_confirm or ToConfirm()
        self._costs = LaunchCosts(study.replica)
        self._begun: dict[str, _Begun] = {}
        self._by_key: dict[str, _Begun] = {}
        self._ended: list[_Begun] = []
        self._is_settled = False
        self.reason = ""

    @property
    def is_set(self) -> bool:
        """Whether the study limits its search."""
        return self._patience is not None or bool(self._budget)

    def follow(self, records: Iterable[JournalRecord]) -> None:
        """Accept records, in the order of the journal."""
        for record in records if self.is_set else ():
            self._costs.follow(record)
            match record:
                case TrialSubmitted():
                    self._begin(record)
                case TrialEnded():
                    self._end(record.key, record.result)
                case ConfirmationChosen() if record.of_version >= self._version:
                    self._decide()
                    self._is_settled = True
                case _:
                    pass
        self._decide()

    def has_begun(self, configuration: str) -> bool:
        """Return whether a trial of a configuration was submitted."""
        return configuration in self._begun

    @property
    def withheld(self) -> int:
        """The number of trials that are not run: those of configurations that are not proposed."""
        return max(0, self._configurations - len(self._begun)) * self._runs_each if self.reason else 0

    @property
    def line(self) -> str:
        """Why the search has stopped and what was not run, in one line; "" if every configuration is tried."""
        if not self.withheld:
            return ""
        trials = "1 trial was" if self.withheld == 1 else f"{self.withheld} trials were"
        after = f"search stopped after {len(self._begun)} of {self._configurations} configurations"
        return f"{after}: {self.reason}; {trials} not run"

    def describe(self) -> list[str]:
        """Return when the search will stop, a line for each limit."""
        rule = f"after {self._patience} configurations without an improvement beyond noise"
        budget = ", ".join(f"{_amount(limit)} {_named(name)}" for name, limit in self._budget.items())
        kept = " (what confirms the search is kept for)" if self._to_confirm.trials else ""
        return [*([] if self._patience is None else [rule]), *([f"before {budget} are used{kept}"] if budget else [])]

    def _begin(self, record: TrialSubmitted) -> None:
        is_searched = record.key not in self._baselines and record.spec["seed"] in self._seeds
        if not is_searched or record.key in self._by_key:
            return
        spec = TrialSpec.from_record(record.spec)
        keys = tuple(spec.model_copy(update={"seed": seed}).key for seed in self._seeds)
        begun = self._begun[spec.configuration] = _Begun(spec.pattern, keys)
        self._by_key |= dict.fromkeys(keys, begun)

    def _end(self, key: str, result: ResultRecord) -> None:
        """Keep the end of a trial; the last one counts, since a failed trial may be tried again."""
        begun = self._by_key.get(key)
        if begun is None or result.get("resumable", False):
            return
        begun.results[key] = result
        if len(begun.results) == len(begun.keys) and begun not in self._ended:
            self._ended.append(begun)

    def _decide(self) -> None:
        if not self._is_settled:
            self.reason = self._why_no_improvement() or self._why_used_up()

    def _why_no_improvement(self) -> str:
        if self._patience is None:
            return ""
        counted = [self._outcome(each) for each in self._ended if not _has_failed(each)]
        count = without_improvement(counted, mode=self._mode)
        if count < self._patience:
            return ""
        return f"none of the last {count} is better than the best before them, beyond noise (search.stop)"

    def _why_used_up(self) -> str:
        for name, limit in self._budget.items():
            used, expected = self._costs.total(name), self._expected(name)
            if used + expected >= limit:
                more = f", and {_amount(expected)} more are expected of what runs and of the confirmation"
                of = f"{_amount(used)} of {_amount(limit)} {_named(name)} are used"
                return f"{of}{more if expected else ''} (budget.total)"
        return ""

    def _expected(self, name: str) -> float:
        """Return what is expected of the trials that have begun, and of those that will confirm the search."""
        finished = [key for begun in self._begun.values() for key in begun.finished]
        waiting = sum(len(begun.keys) - len(begun.results) for begun in self._begun.values())
        own = self._costs.mean(name, finished) * (waiting + self._to_confirm.trials)
        baselines = sum(self._costs.mean(name, keys) for keys in self._to_confirm.baselines)
        return own + baselines * self._to_confirm.seeds

    def _outcome(self, begun: _Begun) -> EndedConfiguration:
        metrics: list[Mapping[str, float]] = [result["metrics"] for result in begun.results.values()]
        values = tuple(float(each.get(self._metric, math.nan)) for each in metrics)
        can_be_best = len(begun.finished) == len(begun.keys) and is_feasible(self._constraints, metrics)
        return EndedConfiguration(begun.pattern, values if can_be_best and all(map(math.isfinite, values)) else None)


def _has_failed(begun: _Begun) -> bool:
    """Return whether a trial failed, which tells nothing of its hyperparameters."""
    return any(result["status"] == TrialStatus.FAILED for result in begun.results.values())


def _named(name: str) -> str:
    return {"gpu_hours": "GPU hours", "seconds": "seconds of trials"}.get(name, name)


def _amount(value: float) -> str:
    """Return a number for a person, without an exponent."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"
