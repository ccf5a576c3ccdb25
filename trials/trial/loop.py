"""The loop of one trial: its steps, points, evaluations and checkpoints, and the artifacts at the end."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Literal

from nmlab.trials.context.trial_context import TrialContext
from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.metrics import EVAL, VALIDATION, neutral_prefix
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.evaluation import TaskResults
from nmlab.trials.files.disk import is_disk_full, retry_while_disk_full
from nmlab.trials.files.file_digest import FileDescription
from nmlab.trials.measure.memory import release_memory
from nmlab.trials.methods.base import Arrays, Run
from nmlab.trials.trial.account import cost_metrics, memory_metrics, over_budget_notes, reached_limits
from nmlab.trials.trial.artifacts import FinishedTrial, gather_masks, gather_weights, write_artifacts
from nmlab.trials.trial.attempt import Attempt
from nmlab.trials.trial.ending import result_of
from nmlab.trials.trial.evaluations import Evaluations, Measured, Texts
from nmlab.trials.trial.footprint import Footprint
from nmlab.trials.trial.history import History, with_start_named
from nmlab.trials.trial.outcome import TrialResult

Decision = Literal["continue", "finish", "cancelled"]
"""Whether to take another step, to evaluate and end because the budget is reached, or to save the state and stop."""


class TrialLoop:
    """A started trial: learns step by step from where its newest checkpoint is, evaluates, and writes the artifacts."""

    def __init__(
        self, attempt: Attempt, *, context: TrialContext, run: Run, texts: Texts, footprint: Footprint
    ) -> None:
        self.attempt, self._context, self._run, self._footprint = attempt, context, run, footprint
        self._spec, self._pipeline = attempt.spec, attempt.pipeline
        self._evaluations = Evaluations(attempt, context=context, texts=texts, footprint=footprint)
        self._history = History(steps=run.steps, log_every=attempt.spec.cadence.log_every)
        self._checkpoints = attempt.checkpoints()
        self.notes, self.started_from = context.notes, context.started_from
        self.step = 0
        self._first_step = 0  # of this attempt

    def complete(self) -> TrialResult:
        """Learn until steps, budget or launch end, then evaluate and write the artifacts."""
        if self.step == 0:
            self._evaluate_initial()
        while self.step < self._run.steps and (decision := self._decide()) != "finish":
            if decision == "cancelled":
                self._save()
                return self._interrupted()
            self._take_step()
            if self._is_due(self._spec.cadence.evaluate_every):
                self._history.note(self.step, self._evaluations.intermediate(self._run))
            self._report_point()
            if self._is_due(self._spec.cadence.checkpoint_every):
                self._save()
        return self._finish()

    def replay(self) -> None:
        """Take the steps of a trial that another slot leads; evaluate, record and write nothing."""
        while self.step < self._run.steps:
            self._run.step(self.step)
            self.step += 1

    def resume(self) -> None:
        """Load the newest checkpoint, where there is one; reports the points up to it once more."""
        saved = self._checkpoints.newest(pipeline=self._pipeline)
        where = "from the start" if saved is None else f"from step {saved.step}"
        self.notes += [f"{damage}, so the trial went on {where}" for damage in self._checkpoints.damaged]
        if saved is not None:
            self._run.load_state({name: t for name, t in saved.tensors.items() if not name.startswith("history/")})
            self._history.restore(saved.tensors, with_start_named(saved.values["history"]))
            self._context.cost.restore(saved.values["cost"])
            self._footprint.restore(saved.values.get("footprint", {}))  # which older checkpoints lack
            self.step = self._first_step = saved.step
            for step, values in self._history.points():
                self.attempt.events.metrics(step, values)
        release_memory()  # memory that the start has freed

    @property
    def tasks(self) -> TaskResults | None:
        """The results of the evaluation tasks, once they have run."""
        return self._evaluations.tasks

    @property
    def runs_model(self) -> bool:
        """Whether the trial takes steps or evaluates."""
        return self._footprint.runs_model

    def spent(self) -> dict[str, float]:
        """Return the account of a trial that does not finish, without asking other ranks of a pipeline group.

        They may have failed too, so memory is left out there; the cost is the same on all ranks.
        """
        return self._account() if self._pipeline.size == 1 else self._costs()

    def _decide(self) -> Decision:
        """Return what to do next; in a pipeline group the leader decides, because clocks and messages differ."""
        own: Decision = "continue"
        if reached_limits(self._context.cost.bill, self._spec.budget):
            own = "finish"
        elif self.attempt.events.cancelled():
            own = "cancelled"
        return self._pipeline.broadcast(own)

    def _take_step(self) -> None:
        self._footprint.enter("learning")
        # The first step applies the masks and warms up, so the second one is measured.
        is_usual = self.step > self._first_step or self.step + 1 == self._run.steps
        with self._context.cost.watch(), self._footprint.watch("learning") if is_usual else nullcontext():
            values = self._run.step(self.step)
        self.step += 1
        self._history.append(values)

    def _is_due(self, every: int | None) -> bool:
        """Return whether something that happens after ``every`` steps is due; what follows the last step is not."""
        return every is not None and self.step % every == 0 and self.step < self._run.steps

    def _report_point(self) -> None:
        if self._history.is_point(self.step):
            self._history.note(self.step, self._run.observe())
        if values := self._history.point(self.step):
            self.attempt.events.metrics(self.step, values)

    def _record(self, step: int, values: Mapping[str, float]) -> None:
        self._history.note(step, values)
        self.attempt.events.metrics(step, self._history.point(step))

    def _evaluate_initial(self) -> None:
        """Record the perplexities of the masks that a learned run starts from."""
        if metrics := self._evaluations.initial(self._run):
            self._record(0, metrics)

    def _finish(self) -> TrialResult:
        """Evaluate the final masks, compute the diagnostics, and write the artifacts."""
        if self._run.steps:
            self._save()
        if self.step == 0:
            learns = self._run.steps > 0
            self.notes += over_budget_notes(self._context.cost.bill, self._spec.budget, learns=learns)
        measured, metrics = self._evaluations.final(self._run)
        final = {**metrics, **self._account()}
        for name in (EVAL, VALIDATION, *map(neutral_prefix, measured.neutral)):
            if not math.isfinite(value := final.get(f"{name}perplexity", 0.0)):
                self._record(self.step, final)
                raise DivergedError(f"the perplexity of the final mask is {value}")
        extra = self._context.extra
        with extra.watch():
            diagnostics = self._run.diagnostics(lambda: self._pipeline.broadcast(self.attempt.events.cancelled()))
        if diagnostics is None:
            return self._interrupted()
        final |= extra.bill.metrics("cost/extra_") if diagnostics else {}
        self._record(self.step, final)
        files = self._write_artifacts(final, measured, diagnostics)
        return result_of(self, TrialStatus.FINISHED, metrics=final, files=files)

    def _interrupted(self) -> TrialResult:
        return result_of(self, TrialStatus.STOPPED, reason="interrupted", metrics=self._account())

    def _write_artifacts(
        self, final: Mapping[str, float], measured: Measured, diagnostics: Mapping[str, Arrays]
    ) -> Mapping[str, FileDescription]:
        """Write the artifacts; in a pipeline group the leader gathers the masks and weights of all ranks first."""
        frozen = self.attempt.replica.frozen
        masks = gather_masks(self._run.masks(), frozen=frozen, pipeline=self._pipeline)
        weights = gather_weights(self._run.weights(), pipeline=self._pipeline)
        if not self._pipeline.leads:
            return self._pipeline.broadcast({})
        finished = FinishedTrial(
            spec=self._spec,
            frozen=frozen,
            masks=masks,
            weights=weights,
            measured=measured,
            tasks=self.tasks,
            history=self._history if self._run.steps else None,
            metrics=final,
            notes=self.notes,
            started_from=self.started_from,
            diagnostics=diagnostics,
        )
        write = partial(write_artifacts, self.attempt.folder, finished)
        return self._pipeline.broadcast(retry_while_disk_full(write, given_up=self.attempt.events.cancelled))

    def _account(self) -> dict[str, float]:
        memory = memory_metrics(self._context.model, self._run, self._footprint)
        return {**self._costs(), **memory}

    def _costs(self) -> dict[str, float]:
        has_step = self.step > 0 or self._run.steps == 0
        return cost_metrics(self._context.cost, steps=self.step, has_step=has_step)

    def _save(self) -> None:
        tensors = {**self._run.state(), **self._history.tensors()}
        values = {"history": self._history.values(), "cost": self._context.cost.state()}
        values["footprint"] = self._footprint.state()
        try:
            self._checkpoints.save(self.step, tensors=tensors, values=values)
            self.attempt.evaluators.saved(self.step)
        except Exception as error:  # safetensors has exception types of its own
            if not is_disk_full(error):
                raise
            # Learning continues: the previous checkpoint is still there, and stopping would lose more than this one.
            self.notes.append(f"no checkpoint after step {self.step}: the disk was full")
