"""The Tune searcher: runs every configuration with every seed, and gives the search one outcome for each configuration.

Seeds are replicates of a configuration and never points of the search. Trials that have already ended, in this process
or before it, are counted and not run again. A trial that Tune gives up is proposed to it again: an error in Tune's
sense is a lost actor, while a trial that failed has a result with this status.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ray.tune.search import Searcher

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.payloads import FlatResult, ResultRecord
from nmlab.platform.search.later_seeds import LaterSeeds
from nmlab.platform.search.outcomes import outcome_of
from nmlab.platform.search.search_limits import SearchLimits
from nmlab.platform.search.strategy_protocol import Outcome, Proposal, SearchStrategy
from nmlab.platform.tuning.trainable import TrialConfig
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec

_log = logging.getLogger(__name__)
_NO_MORE = cast(dict[str, Any], Searcher.FINISHED)  # a text, while Ray declares a dictionary or None


@dataclass
class _Replicates:
    """One configuration: the keys of the trials that have not ended, the results of the others, and all curves."""

    number: int
    specs: Sequence[TrialSpec]
    awaited: set[str]
    results: dict[str, FlatResult] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)


class ReplicateSearcher(Searcher):
    """Proposes the trials of a study to Tune: baselines, the search, and once both have ended what confirms it.

    Args:
        plan: the study, its baselines and seeds.
        strategy: where configurations come from.
        dispatcher: its name, for the trial actors.
        namespace: of the dispatcher.
        ended: the results of trials that ended before this process, by trial key.
        evaluated: the values of the (first) objective by step that trials had before this process, by trial key.
        stopped_early: the keys of trials that are stopped early for good; grows. A configuration with one is pruned.
            One with a trial that was stopped otherwise (time limit, Ctrl-C) stays open, for a resumed launch.
        later: has accepted the trials that ended before this process; gives the trials of seeds that were added to the
            study, of which the search learns nothing.
        after_search: is called once, when every trial of the search has ended; returns the trials that confirm it, of
            which the search learns nothing.
        metric_mode: the (first) objective, and ``min`` or ``max``.
        search_limits: has accepted the records before this process, and says when nothing more is proposed.
        max_failures: how many errors of a trial count as lost actors; after one more the trial has failed.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        strategy: SearchStrategy,
        *,
        dispatcher: str,
        namespace: str,
        ended: Mapping[str, FlatResult],
        evaluated: Mapping[str, Mapping[int, float]],
        stopped_early: Container[str],
        metric_mode: tuple[str, str],
        later: LaterSeeds | None = None,
        search_limits: SearchLimits | None = None,
        after_search: Callable[[], Sequence[TrialSpec]] = tuple,
        max_failures: int = 3,
    ) -> None:
        super().__init__(metric=metric_mode[0], mode=metric_mode[1])
        self._plan, self._strategy, self._dispatcher, self._namespace = plan, strategy, dispatcher, namespace
        self._ended, self._evaluated, self._stopped_early = dict(ended), evaluated, stopped_early
        self._metrics, self._constraints = plan.study.search.metrics, plan.study.search.all_constraints
        self._queue: deque[TrialSpec] = deque()
        self._by_key: dict[str, _Replicates] = {}
        self._running: dict[str, TrialSpec] = {}  # by Tune's name for it
        self._errors: Counter[str] = Counter()
        self._max_failures = max_failures
        self._opened = False
        self._later = later or plan.later_seeds()
        self._search_limits = search_limits or plan.search_limits()
        self._held: deque[Proposal] = deque()
        self._after_search, self._is_confirming = after_search, False

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, object], **spec: object
    ) -> bool:
        """Accept Tune's metric and mode, which are those of the study."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial; None while running trials may have to be proposed again; FINISHED after the last."""
        if not self._opened:
            self._open()
        while not self._queue:
            proposal = self._next()
            if proposal is not None:
                self._enqueue(proposal)
            elif self._running:
                return None
            elif not self._confirm():
                return _NO_MORE
        spec = self._queue.popleft()
        self._running[trial_id] = spec
        self._later.begin(spec)
        config: TrialConfig = {
            "dispatcher": self._dispatcher,
            "namespace": self._namespace,
            "key": spec.key,
            "spec": spec.model_dump(mode="json"),
            "objectives": list(self._metrics),
        }
        return dict(config)

    def on_trial_result(self, trial_id: str, result: FlatResult) -> None:
        """Keep the intermediate values of the (first) objective."""
        self._note(self._running[trial_id].key, result)

    def on_trial_complete(self, trial_id: str, result: FlatResult | None = None, error: bool = False) -> None:
        """Keep a trial's result; once all seeds of its configuration have one, give the search the outcome.

        A trial whose actor was lost has no result yet, and is proposed again.
        """
        spec = self._running.pop(trial_id)
        if error and self._errors[spec.key] < self._max_failures:
            self._errors[spec.key] += 1
            _log.info("trial %s lost its actor and is proposed again", spec.key)
            self._queue.appendleft(spec)
            return
        if error or result is None:
            self._accept(spec.key, {"status": TrialStatus.FAILED})
            return
        self._note(spec.key, result)
        if result.get("status", TrialStatus.STOPPED) != TrialStatus.STOPPED or spec.key in self._stopped_early:
            self._accept(spec.key, {"status": TrialStatus.STOPPED, **result})
            self._add_later_seeds(spec.key, result)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the search has its own journal, and results are in the launch's journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing (see `save`)."""

    def _open(self) -> None:
        self._opened = True
        self._queue += [spec for spec in self._plan.baselines if spec.key not in self._ended]
        for proposal in self._strategy.open():
            self._enqueue(proposal)
        for proposal in self._strategy.failed():  # the search keeps their outcome; the missing runs are made up for
            self._queue += [spec for spec in self._specs(proposal) if spec.key not in self._ended]
        self._queue += [spec for spec in self._later.trials if spec.key not in self._ended]
        if self._search_limits.is_set and self._plan.study.search.algorithm == "grid":
            self._enqueue_begun_points()

    def _next(self) -> Proposal | None:
        """Return the next configuration; none once the search has stopped."""
        if self._search_limits.reason:
            return None
        return self._held.popleft() if self._held else self._strategy.next()

    def _enqueue_begun_points(self) -> None:
        """Queue the points of a grid that an earlier process began: they run to the end also if the search stops."""
        while (proposal := self._strategy.next()) is not None:
            if self._search_limits.has_begun(self._specs(proposal)[0].configuration):
                self._enqueue(proposal)
            else:
                self._held.append(proposal)

    def _add_later_seeds(self, key: str, result: FlatResult) -> None:
        """Queue the trials of added seeds, if a configuration is complete by the end of this trial."""
        status = result.get("status", TrialStatus.STOPPED)
        end: ResultRecord = {"key": key, "status": status, "step": 0, "metrics": result, "reason": ""}
        self._queue += [spec for spec in self._later.end(key, end) if spec.key not in self._ended]

    def _confirm(self) -> bool:
        """Queue the trials that confirm the search, if that is not done; return whether there are any to run."""
        if self._is_confirming:
            return False
        self._is_confirming = True
        self._queue += [spec for spec in self._after_search() if spec.key not in self._ended]
        return bool(self._queue)

    def _specs(self, proposal: Proposal) -> list[TrialSpec]:
        plan = self._plan
        return [trial_spec(plan.study, proposal.configuration, seed=seed) for seed in plan.search_seeds]

    def _enqueue(self, proposal: Proposal) -> None:
        specs = self._specs(proposal)
        replicates = _Replicates(proposal.number, specs, {spec.key for spec in specs})
        before = [spec.key for spec in specs if spec.key in self._evaluated]
        replicates.curves |= {key: dict(self._evaluated[key]) for key in before}
        for spec in specs:
            self._by_key[spec.key] = replicates
        for spec in specs:
            if spec.key in self._ended:
                self._note(spec.key, self._ended[spec.key])
                self._accept(spec.key, self._ended[spec.key])
            else:
                self._queue.append(spec)

    def _note(self, key: str, result: FlatResult) -> None:
        if key in self._by_key and self._metrics[0] in result:
            curve = self._by_key[key].curves.setdefault(key, {})
            curve[int(result["step"])] = float(result[self._metrics[0]])

    def _accept(self, key: str, result: FlatResult) -> None:
        """Keep the result of a trial; after the last seed of its configuration, tell the search the outcome.

        Baselines, trials that confirm the search, and those that already have a result are left out.
        """
        replicates = self._by_key.get(key)
        if replicates is None or key not in replicates.awaited:
            return
        replicates.awaited.discard(key)
        replicates.results[key] = result
        if not replicates.awaited:
            self._strategy.tell(replicates.number, self._outcome(replicates))

    def _outcome(self, replicates: _Replicates) -> Outcome:
        """Return the outcome of a configuration whose trials have all ended."""
        return outcome_of(
            {spec.seed: replicates.results[spec.key] for spec in replicates.specs},
            curves=list(replicates.curves.values()),
            configuration=replicates.specs[0].configuration,
            metrics=self._metrics,
            constraints=self._constraints,
        )
