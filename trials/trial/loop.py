"""The loop of one trial: its steps, points, evaluations, checkpoints and artifacts."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError, GroupClosedError, note_account
from nmlab.trials.contract.metrics import initial_name
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_status import TrialEnd, TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.evaluation import Perplexity, TaskResults, measure, run_tasks
from nmlab.trials.files.disk import DiskFullError, is_disk_full, once_there_is_room
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.measure.cost import nothing_spent
from nmlab.trials.measure.memory import give_back, peak_bytes
from nmlab.trials.measure.out_of_memory import NOT_SMALLER, is_out_of_memory, shrinks_with_batch
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Arrays, Run, TrialContext
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.prunable import check_divisible
from nmlab.trials.parallel.mask_parallel import MaskEvaluators
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.artifacts import gather_masks, gather_weights, write_artifacts
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.footprint import Footprint
from nmlab.trials.trial.history import History, with_start_named
from nmlab.trials.trial.outcome import Events, TrialResult, facts_of
from nmlab.trials.trial.overspending import overspending, overspent


@dataclass(eq=False)
class TrialLoop:
    """One attempt at a trial: starts the run, learns step by step, evaluates, and writes the artifacts."""

    spec: TrialSpec
    replica: ReplicaContext
    folder: Path
    events: Events
    pipeline: PipelineGroup
    evaluators: MaskEvaluators
    follows: bool = False
    """Whether another slot leads the trial and writes its checkpoints."""
    step: int = 0
    evaluated: dict[int, Perplexity] = field(default_factory=dict)
    tasks: TaskResults | None = None
    halved: bool = False
    why: str = ""
    shrinks: bool = True
    """Whether memory, if it ran out, was missing for something that smaller micro-batches make smaller."""

    def begin(self) -> None:
        """Start the run and load its newest checkpoint."""
        pattern = Pattern.parse(self.spec.pattern)
        method = registry.get(self.spec.method)
        config = method.configure(self.spec.hyperparameters)
        if method.sparse:
            check_divisible(self.replica.frozen.layers, pattern=pattern)
        minibatches = self.spec.calibration.minibatches
        if reason := method.unsupported_reason(pattern, config) or method.unsupported_text_reason(
            config, minibatches=minibatches
        ):
            raise ValueError(f"{method.name}: {reason}")
        self.context = TrialContext(
            replica=self.replica,
            model=MaskedModel(self.replica.frozen, pipeline=self.pipeline),
            pattern=pattern,
            calibration=self.spec.calibration,
            seed=self.spec.seed,
            evaluators=self.evaluators,
        )
        self._limit_micro_batch()
        self.windows = self.replica.evaluation(self.spec.evaluation)
        frozen = self.replica.frozen
        self.footprint = Footprint(frozen.device, load_peak=frozen.load_peak_bytes)
        self.footprint.enter("start")
        with self.context.cost.watch():
            self.run: Run = method.start(self.context, config)
        self.context.cost.begun()
        self.history = History(steps=self.run.steps, log_every=self.spec.cadence.log_every)
        own = f"shard-{self.pipeline.rank}-of-{self.pipeline.size}" if self.pipeline.size > 1 else ""
        self.checkpoints = CheckpointFolder(self.folder / own, key=self.spec.key, theirs=self.follows)
        self._resume()
        give_back()  # memory that the start has freed
        self._first_step = self.step

    def _limit_micro_batch(self) -> None:
        """Set how many sequences go through the model at once: as specified, or half of it where more did not fit."""
        self.context.model.micro_batch = self.spec.calibration.micro_batch
        if self.halved:
            micro_batch = -(-self.spec.calibration.at_once // 2)
            self.context.model.micro_batch = micro_batch
            self.context.notes.append(f"{self.why}, ran with {micro_batch} (windows: {self._windows_at_once})")

    @property
    def _windows_at_once(self) -> int:
        windows = self.spec.evaluation.batch_size
        return -(-windows // 2) if self.halved else windows

    def go(self) -> TrialResult:
        """Learn, evaluate and write the artifacts."""
        if self.step == 0 and self.run.initial_masks() is not None:
            self._record(0, self._evaluate_initial())
        while self.step < self.run.steps and (decision := self.pipeline.broadcast(self._decision())) != "enough":
            if decision == "cancelled":
                self._save()
                return self.result(TrialStatus.STOPPED, reason="interrupted", metrics=self._account())
            self._advance()
        if self.run.steps:
            self._save()
        if self.step == 0:
            self.context.notes += overspending(self.context.cost.bill, self.spec.budget, learns=self.run.steps > 0)
        final = {**self._evaluate(self.step), **self._evaluate_tasks(), **self._account()}
        if not math.isfinite(final["eval/perplexity"]):
            self._record(self.step, final)
            raise DivergedError(f"the perplexity of the final mask is {final['eval/perplexity']}")
        with self.context.extra.watch():
            diagnostics = self.run.diagnostics(lambda: self.pipeline.broadcast(self.events.cancelled()))
        if diagnostics is None:
            return self.result(TrialStatus.STOPPED, reason="interrupted", metrics=self._account())
        final |= self.context.extra.bill.metrics("cost/extra_") if diagnostics else {}
        self._record(self.step, final)
        return self.result(TrialStatus.FINISHED, metrics=final, files=self._write_artifacts(final, diagnostics))

    def replay(self) -> None:
        """Take the steps of a trial that another slot leads; evaluate, record and write nothing."""
        while self.step < self.run.steps:
            self.run.step(self.step)
            self.step += 1

    def ended_by(self, error: Exception) -> TrialResult:
        """Return the result for an error that ends a trial, or raise any other error with an account of the cost."""
        if isinstance(error, DivergedError):
            return self.result(TrialStatus.DIVERGED, reason=str(error), metrics=self._spent())
        if isinstance(error, DiskFullError | GroupClosedError):
            return self.result(TrialStatus.STOPPED, reason=str(error), metrics=self._spent())
        if not is_out_of_memory(error):
            self.account_for(error)
            raise error
        self.shrinks = shrinks_with_batch(error, otherwise=hasattr(self, "footprint") and self.footprint.runs_model)
        self.context.notes += [] if self.shrinks else [NOT_SMALLER]
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return self.result(TrialStatus.OOM, reason=reason, metrics=self._spent())

    def account_for(self, error: BaseException) -> None:
        """Attach to an error how far the trial came and what it has cost."""
        note_account(error, step=self.step, metrics=self._spent())

    def result(
        self,
        status: TrialEnd,
        *,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
        files: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> TrialResult:
        """Return the trial's result at its current step."""
        method, tasks = registry.get(self.spec.method), None if self.tasks is None else self.tasks.facts_line()
        return TrialResult(
            key=self.spec.key,
            status=status,
            step=self.step,
            metrics=metrics or {},
            reason=reason,
            artifacts=tuple(files or ()),
            files=files or {},
            model_digest=self.replica.frozen.digest,
            notes=tuple(self.context.notes),
            initial_masks=dict(self.context.started_from),
            facts=facts_of(depends_on_seed=method.depends_on_seed, tasks=tasks),
        )

    def _write_artifacts(
        self, final: Mapping[str, float], diagnostics: Mapping[str, Arrays]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Write the artifacts; in a pipeline group the leader gathers the masks and weights of all ranks first."""
        initial = self._initial_perplexity()
        masks = gather_masks(self.run.masks(), frozen=self.replica.frozen, pipeline=self.pipeline)
        weights = gather_weights(self.run.weights(), pipeline=self.pipeline)
        if not self.pipeline.leads:
            return self.pipeline.broadcast({})
        write = partial(
            write_artifacts,
            self.folder,
            spec=self.spec,
            frozen=self.replica.frozen,
            masks=masks,
            weights=weights,
            perplexity=self.evaluated[self.step],
            initial=initial,
            tasks=self.tasks,
            history=self.history if self.run.steps else None,
            metrics=final,
            notes=self.context.notes,
            started_from=self.context.started_from,
            diagnostics=diagnostics,
        )
        return self.pipeline.broadcast(once_there_is_room(write, given_up=self.events.cancelled))

    def _decision(self) -> Literal["on", "enough", "cancelled"]:
        """Return what to do next; in a pipeline group the leader decides, because clocks and messages differ."""
        if overspent(self.context.cost.bill, self.spec.budget):
            return "enough"
        return "cancelled" if self.events.cancelled() else "on"

    def _advance(self) -> None:
        self.footprint.enter("learning")
        # The first step applies the masks and warms up, so the second one is measured.
        is_usual = self.step > self._first_step or self.step + 1 == self.run.steps
        with self.context.cost.watch(), self.footprint.watch("learning") if is_usual else nullcontext():
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

    def _record(self, step: int, values: Mapping[str, float]) -> None:
        self.history.note(step, values)
        self.events.metrics(step, self.history.point(step))

    def _evaluate(self, step: int) -> dict[str, float]:
        self.footprint.enter("evaluation")
        masks = self.run.masks()
        for name, mask in masks.items():
            check_mask(mask, self.context.pattern, name=name)
        self.context.model.remove_masks()
        self.context.model.apply_masks(masks, weights_OI=self.run.weights())
        first = self.footprint.watch("evaluation")
        self.evaluated[step] = measure(self.context.model, self.windows, batch_size=self._windows_at_once, first=first)
        return self._perplexities(self.evaluated[step])

    def _evaluate_tasks(self) -> dict[str, float]:
        """Run the evaluation tasks on the model with the masks that ``_evaluate`` applied."""
        if not self.spec.evaluation.tasks:
            return {}
        self.tasks = run_tasks(self.context.model, self.spec.evaluation)
        return self.tasks.metrics()

    def _evaluate_initial(self) -> dict[str, float]:
        perplexity = self._initial_perplexity()
        assert perplexity is not None
        return {initial_name(name): value for name, value in self._perplexities(perplexity).items()}

    def _initial_perplexity(self) -> Perplexity | None:
        """Return the perplexity of the initial mask, measured once for all trials that start from it."""
        masks = self.run.initial_masks()
        if masks is None:
            return None
        digests = tuple(self.pipeline.all_gather(masks_digest(masks)))

        def compute() -> Perplexity:
            self.footprint.enter("evaluation")
            self.context.model.apply_masks(masks)
            return measure(self.context.model, self.windows, batch_size=self._windows_at_once)

        return self.replica.get_or_compute(
            ("initial perplexity", digests, self.spec.evaluation), compute, pipeline=self.pipeline
        )

    def _perplexities(self, measured: Perplexity) -> dict[str, float]:
        return measured.metrics(self.spec.evaluation.perplexity)

    def _account(self) -> dict[str, float]:
        phases = self.footprint.metrics(pipeline=self.pipeline)  # before the overall peak, so that this is not lower
        memory = {
            "memory/peak_bytes": float(max(self.pipeline.all_gather(peak_bytes(self.replica.frozen.device)))),
            "memory/state_bytes": float(self.pipeline.all_reduce_count(self.run.state_bytes)),
            "memory/masked_weight_bytes": float(self.pipeline.all_reduce_count(self.context.model.bytes)),
            "memory/weight_bytes": float(self.pipeline.all_reduce_count(self.replica.frozen.bytes)),
            **phases,
        }
        return {**self._costs(), **memory}

    def _spent(self) -> dict[str, float]:
        """Return the account of a trial that does not finish, without asking other ranks of a pipeline group.

        They may have failed too, so memory is left out there; the cost is the same on all ranks.
        """
        if not hasattr(self, "context"):  # refused before anything was computed
            return nothing_spent()
        return self._account() if hasattr(self, "history") and self.pipeline.size == 1 else self._costs()

    def _costs(self) -> dict[str, float]:
        """Return cost and times; a run that has not taken its first step has no step time."""
        metrics = self.context.cost.metrics(steps=self.step)
        has_begun = self.step > 0 or (hasattr(self, "run") and self.run.steps == 0)
        return {name: value for name, value in metrics.items() if has_begun or not name.startswith("time/")}

    def _save(self) -> None:
        tensors = {**self.run.state(), **self.history.tensors()}
        values = {"history": self.history.values(), "cost": self.context.cost.state()}
        values["footprint"] = self.footprint.state()
        try:
            self.checkpoints.save(self.step, tensors=tensors, values=values)
            self.evaluators.saved(self.step)
        except Exception as error:  # safetensors has exception types of its own
            if not is_disk_full(error):
                raise
            # Learning continues: the previous checkpoint is still there, and stopping would lose more than this one.
            self.context.notes.append(f"no checkpoint after step {self.step}: the disk was full")

    def _resume(self) -> None:
        saved = self.checkpoints.newest(pipeline=self.pipeline)
        where = "from the start" if saved is None else f"from step {saved.step}"
        self.context.notes += [f"{damage}, so the trial went on {where}" for damage in self.checkpoints.damaged]
        if saved is None:
            return
        self.run.load_state({name: t for name, t in saved.tensors.items() if not name.startswith("history/")})
        self.history.restore(saved.tensors, with_start_named(saved.values["history"]))
        self.context.cost.restore(saved.values["cost"])
        self.footprint.restore(saved.values.get("footprint", {}))  # which older checkpoints lack
        self.step = saved.step
        for step, values in self.history.points():
            self.events.metrics(step, values)
