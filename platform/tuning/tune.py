"""The Tune run of a sweep: trial actors and nmlab's searcher.

None of Tune's schedulers is used: they compare trials, which are single seeds here. `search/early_stopping.py` compares
configurations.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.stopper import TimeoutStopper

from nmlab.platform.cluster.nodes import ray_nodes
from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.payloads import FlatResult
from nmlab.platform.search.later_seeds import LaterSeeds
from nmlab.platform.search.search_limits import SearchLimits
from nmlab.platform.search.strategy_protocol import SearchStrategy
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.platform.tuning.trainable import TrialActor
from nmlab.trials.contract.trial_spec import TrialSpec

# A node has 1 of the resource that marks it; Tune refuses a trial that reserves nothing.
_NODE_SHARE = 0.001


class TuneWatch(Callback):
    """Tune's callback that calls the sweep: between events, and when a trial actor was lost.

    Args:
        check: is called between Tune's events; what it raises ends the run.
        lost: is called with the trial's key and the last line of the error.
        after_search: is called once every trial of the search has ended; returns the trials that confirm it.

    ``starts_no_more_trials`` is set once the time limit has passed or all trials have ended.
    """

    def __init__(
        self,
        check: Callable[[], None],
        lost: Callable[[str, str], None],
        *,
        after_search: Callable[[], Sequence[TrialSpec]] = tuple,
    ) -> None:
        self._check, self._lost, self._after_search = check, lost, after_search
        self._last_end: tuple[int, Trial] | None = None
        self.starts_no_more_trials = False

    def __getstate__(self) -> dict[str, object]:
        return {}  # Tune pickles its callbacks for a restore that nmlab does not use

    def after_search(self) -> Sequence[TrialSpec]:
        """Return the trials that confirm the search; called by the searcher."""
        return self._after_search()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        self._check()

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self._note_end(iteration, trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self._note_end(iteration, trial)

    def _note_end(self, iteration: int, trial: Trial) -> None:
        """Report a lost actor once: Tune calls twice, recover and error, if it dies while it is given another trial."""
        if self._last_end != (iteration, trial):
            self._last_end = (iteration, trial)
            self._lost(trial.config["key"], _last_line(trial))


class _TimeLimit(TimeoutStopper):
    """Tune's time limit; it sets ``starts_no_more_trials`` before Tune waits for the trials that it stops."""

    def __init__(self, seconds: float, watch: TuneWatch) -> None:
        super().__init__(seconds)
        self._watch = watch

    def stop_all(self) -> bool:
        if not self._watch.starts_no_more_trials:
            self._watch.starts_no_more_trials = super().stop_all()  # type: ignore[no-untyped-call] # Ray declares no types
        return self._watch.starts_no_more_trials


def tune_trials(
    plan: LaunchPlan,
    strategy: SearchStrategy,
    *,
    dispatcher: str,
    ended: Mapping[str, FlatResult],
    evaluated: Mapping[str, Mapping[int, float]],
    stopped_early: Container[str],
    folder: Path,
    watch: TuneWatch,
    later: LaterSeeds | None = None,
    search_limits: SearchLimits | None = None,
    max_failures: int = 3,
) -> None:
    """Run every trial that has not ended; returns when all have ended or the time limit has passed.

    A trial's actor may be lost ``max_failures`` times; its trial goes on without it. If Tune gives a trial up all the
    same, as when a reused actor dies before it has begun, the searcher proposes it again as often. The other arguments
    are those of `ReplicateSearcher`; ``folder`` is that of the launch.
    """
    search = plan.study.search
    searcher = ReplicateSearcher(
        plan,
        strategy,
        dispatcher=dispatcher,
        namespace=NAMESPACE,
        ended=ended,
        evaluated=evaluated,
        stopped_early=stopped_early,
        later=later,
        search_limits=search_limits,
        after_search=watch.after_search,
        metric_mode=(search.metrics[0], search.modes[0]),
        max_failures=max_failures,
    )
    _tuner(searcher, plan=plan, folder=folder, watch=watch, max_failures=max_failures).fit()


def _tuner(
    searcher: ReplicateSearcher, *, plan: LaunchPlan, folder: Path, watch: TuneWatch, max_failures: int
) -> Tuner:
    search, seconds = plan.study.search, plan.study.budget.time_limit_seconds
    return Tuner(
        _beside_driver(TrialActor),
        tune_config=TuneConfig(
            metric=search.metrics[0],
            mode=search.modes[0],
            search_alg=searcher,
            num_samples=-1,  # until the searcher has none
            max_concurrent_trials=plan.study.concurrency,
            reuse_actors=True,
            trial_dirname_creator=_folder_name,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=str(folder / "ray"),
            verbose=0,
            callbacks=[watch],
            stop=None if seconds is None else _TimeLimit(seconds, watch),
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )


def _beside_driver(actor: type[TrialActor]) -> type[tune.Trainable]:
    """Return the trainable with its actors placed on the driver's node: the loss of another node ends no actor."""
    node = next(node for node in ray_nodes() if node["NodeID"] == ray.get_runtime_context().get_node_id())
    marks = sorted(name for name in node["Resources"] if name.startswith("node:"))
    share = {marks[-1]: _NODE_SHARE}  # the head's own mark, if any, sorts last
    pinned: type[tune.Trainable] = tune.with_resources(actor, share)
    pinned.__qualname__ = actor.__qualname__  # the name by which Ray shows its process
    return pinned


def _last_line(trial: Trial) -> str:
    lines = Path(trial.error_file).read_text(encoding="utf-8").strip().splitlines() if trial.error_file else []
    return lines[-1] if lines else "unknown"


def _folder_name(trial: Trial) -> str:
    return str(trial.trial_id)
