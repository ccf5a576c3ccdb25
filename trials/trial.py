"""One trial from configuration to result; the only door that the platform needs."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from nmlab.trials import registry
from nmlab.trials.artifacts import write_artifacts
from nmlab.trials.checkpoint import CheckpointFolder
from nmlab.trials.errors import DivergedError, is_out_of_memory
from nmlab.trials.evaluation import Perplexity, measure
from nmlab.trials.history import History
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.memory import give_back, peak_bytes
from nmlab.trials.method import Run, Setting
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.prunable import check_divisible
from nmlab.trials.pattern import Pattern
from nmlab.trials.spec import TrialSpec
from nmlab.trials.workbench import Workbench

Status = Literal["finished", "diverged", "oom", "failed", "stopped"]


class Events(Protocol):
    """Who listens to a trial."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take values after ``step`` steps; a resumed trial repeats points that it gave before, with equal values."""

    def cancelled(self) -> bool:
        """Say whether the trial should save its state and stop."""


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended, its last metrics, and why it did not finish where it did not."""

    key: str
    status: Status
    step: int
    metrics: Mapping[str, float]
    reason: str = ""
    artifacts: tuple[str, ...] = ()
    model_digest: str = ""


def run_trial(spec: TrialSpec, *, bench: Workbench, folder: Path, events: Events) -> TrialResult:
    """Run a trial on a replica's workbench, from its newest checkpoint in ``folder`` if there is one.

    Raises ``ValueError`` for bad input. Divergence and lack of memory are results, not exceptions.
    """
    trial = _Trial(spec, bench, folder, events)
    try:
        trial.begin()
        return trial.go()
    except DivergedError as error:
        return trial.result("diverged", reason=str(error))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return trial.result("oom", reason=(str(error).strip() or type(error).__name__).splitlines()[0])


@dataclass(eq=False)
class _Trial:
    spec: TrialSpec
    bench: Workbench
    folder: Path
    events: Events
    step: int = 0
    evaluated: dict[int, Perplexity] = field(default_factory=dict)

    def begin(self) -> None:
        """Make the run, and bring it to where its newest checkpoint stands."""
        pattern = Pattern.parse(self.spec.pattern)
        method = registry.get(self.spec.method)
        config = method.configure(self.spec.hyperparameters)
        if method.sparse:
            check_divisible(self.bench.frozen.layers, pattern=pattern)
        if reason := method.refuse(pattern, config):
            raise ValueError(f"{method.name}: {reason}")
        self.setting = Setting(
            bench=self.bench,
            model=MaskedModel(self.bench.frozen),
            pattern=pattern,
            calibration=self.spec.calibration,
            seed=self.spec.seed,
        )
        self.windows = self.bench.evaluation(self.spec.evaluation)
        with self._total_time():
            self.run: Run = method.start(self.setting, config)
        self.history = History(steps=self.run.steps, log_every=self.spec.cadence.log_every)
        self.checkpoints = CheckpointFolder(self.folder, key=self.spec.key)
        self._resume()
        give_back()  # what the start left over

    def go(self) -> TrialResult:
        """Learn, evaluate and write the artifacts."""
        if self.step == 0 and self.run.initial_masks() is not None:
            self._tell(0, self._evaluate_initial())
        while self.step < self.run.steps and not self._budget_spent():
            if self.events.cancelled():
                self._save()
                return self.result("stopped", reason="interrupted")
            self._advance()
        if self.run.steps:
            self._save()
        final = {**self._evaluate(self.step), **self._account()}
        self._tell(self.step, final)
        if not math.isfinite(final["eval/perplexity"]):
            raise DivergedError(f"the perplexity of the final mask is {final['eval/perplexity']}")
        artifacts = write_artifacts(
            self.folder,
            spec=self.spec,
            frozen=self.bench.frozen,
            masks=self.run.masks(),
            weights=self.run.weights(),
            perplexity=self.evaluated[self.step],
            initial=self._initial_perplexity(),
            history=self.history if self.run.steps else None,
            metrics=final,
            notes=self.setting.notes,
        )
        return self.result("finished", metrics=final, artifacts=artifacts)

    def result(
        self,
        status: Status,
        *,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
        artifacts: tuple[str, ...] = (),
    ) -> TrialResult:
        """Return how the trial ended, where it stands now."""
        digest = self.bench.frozen.digest
        return TrialResult(self.spec.key, status, self.step, metrics or {}, reason, artifacts, digest)

    def _advance(self) -> None:
        with self._total_time():
            values = self.run.step(self.step)
        self.step += 1
        self.history.append(values)
        cadence = self.spec.cadence
        if cadence.evaluate_every and self.step % cadence.evaluate_every == 0 and self.step < self.run.steps:
            self.history.note(self.step, self._evaluate(self.step))
        if self.history.is_point(self.step):
            self.history.note(self.step, self.run.observe())
        if values := self.history.point(self.step):
            self.events.metrics(self.step, values)
        if self.step % cadence.checkpoint_every == 0 and self.step < self.run.steps:
            self._save()

    def _tell(self, step: int, values: Mapping[str, float]) -> None:
        self.history.note(step, values)
        self.events.metrics(step, self.history.point(step))

    def _evaluate(self, step: int) -> dict[str, float]:
        masks = self.run.masks()
        for name, mask in masks.items():
            check_mask(mask, self.setting.pattern, name=name)
        self.setting.model.undress()
        self.setting.model.wear(masks, weights_OI=self.run.weights())
        self.evaluated[step] = measure(self.setting.model, self.windows, batch_size=self.spec.evaluation.batch_size)
        return self._perplexities(self.evaluated[step])

    def _evaluate_initial(self) -> dict[str, float]:
        perplexity = self._initial_perplexity()
        assert perplexity is not None
        return self._perplexities(perplexity)

    def _initial_perplexity(self) -> Perplexity | None:
        """Return the perplexity of the mask that learning started from, measured once for all that start there."""
        masks = self.run.initial_masks()
        if masks is None:
            return None
        digest = masks_digest(masks)

        def compute() -> Perplexity:
            self.setting.model.wear(masks)
            return measure(self.setting.model, self.windows, batch_size=self.spec.evaluation.batch_size)

        return self.bench.once(("initial perplexity", digest, self.spec.evaluation), compute)

    def _perplexities(self, measured: Perplexity) -> dict[str, float]:
        chosen = measured.per_token if self.spec.evaluation.perplexity == "token" else measured.per_word
        return {
            "eval/token_perplexity": measured.per_token,
            "eval/word_perplexity": measured.per_word,
            "eval/perplexity": chosen,
        }

    def _account(self) -> dict[str, float]:
        memory = {
            "memory/peak_bytes": float(peak_bytes(self.bench.frozen.device)),
            "memory/state_bytes": float(self.run.state_bytes),
            "memory/masked_weight_bytes": float(self.setting.model.bytes),
        }
        return {**self.setting.cost.metrics(steps=self.step), **memory}

    def _budget_spent(self) -> bool:
        budget, cost = self.spec.budget, self.setting.cost
        spent = (
            (budget.tokens, cost.tokens),
            (budget.forwards, cost.forwards),
            (budget.seconds, cost.seconds["total"]),
        )
        return any(limit is not None and used >= limit for limit, used in spent)

    def _save(self) -> None:
        tensors = {**self.run.state(), **self.history.tensors()}
        values = {"history": self.history.values(), "cost": self.setting.cost.state()}
        self.checkpoints.save(self.step, tensors=tensors, values=values)

    def _resume(self) -> None:
        saved = self.checkpoints.newest()
        if saved is None:
            return
        self.run.load_state({name: t for name, t in saved.tensors.items() if not name.startswith("history/")})
        self.history.restore(saved.tensors, saved.values["history"])
        self.setting.cost.restore(saved.values["cost"])
        self.step = saved.step
        for step, values in self.history.points():
            self.events.metrics(step, values)

    def _total_time(self) -> "_Stopwatch":
        return _Stopwatch(self.setting)


class _Stopwatch:
    """Add wall time to the account without draining a GPU's queue at every step."""

    def __init__(self, setting: Setting) -> None:
        self._seconds = setting.cost.seconds

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds["total"] += time.perf_counter() - self._start
