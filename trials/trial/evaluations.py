"""The evaluations of a trial: perplexity under its masks and under those it started from, and tasks."""

from nmlab.trials.context.trial_context import TrialContext
from nmlab.trials.data import Windows
from nmlab.trials.evaluation import Perplexity, TaskResults, measure_perplexity, run_tasks
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.methods.base import Run
from nmlab.trials.trial.attempt import Attempt
from nmlab.trials.trial.footprint import Footprint


class Evaluations:
    """Measures the masked model of a trial on the held-out ``windows`` and on the tasks of its specification."""

    def __init__(self, attempt: Attempt, *, context: TrialContext, windows: Windows, footprint: Footprint) -> None:
        self._attempt, self._context = attempt, context
        self._windows, self._footprint = windows, footprint
        self._spec = attempt.spec.evaluation
        self.tasks: TaskResults | None = None
        """The results of the tasks, once they have run."""

    def perplexity(self, run: Run) -> Perplexity:
        """Return the perplexity under the masks and weights of ``run``, which stay applied to the model."""
        self._footprint.enter("evaluation")
        masks = run.masks()
        for name, mask in masks.items():
            check_mask(mask, self._context.pattern, name=name)
        self._context.model.remove_masks()
        self._context.model.apply_masks(masks, weights_OI=run.weights())
        first = self._footprint.watch("evaluation")
        return measure_perplexity(
            self._context.model, self._windows, batch_size=self._attempt.windows_at_once, first=first
        )

    def initial_perplexity(self, run: Run) -> Perplexity | None:
        """Return the perplexity of the masks that ``run`` started from, measured once for all trials with the same."""
        masks = run.initial_masks()
        if masks is None:
            return None
        digests = tuple(self._attempt.pipeline.all_gather(masks_digest(masks)))

        def compute() -> Perplexity:
            self._footprint.enter("evaluation")
            self._context.model.apply_masks(masks)
            return measure_perplexity(self._context.model, self._windows, batch_size=self._attempt.windows_at_once)

        return self._attempt.replica.get_or_compute(
            ("initial perplexity", digests, self._spec), compute, pipeline=self._attempt.pipeline
        )

    def run_tasks(self) -> dict[str, float]:
        """Run the tasks on the model with the masks that ``perplexity`` applied, and return their metrics."""
        if not self._spec.tasks:
            return {}
        self.tasks = run_tasks(self._context.model, self._spec)
        return self.tasks.metrics()

    def metrics(self, measured: Perplexity) -> dict[str, float]:
        """Return a perplexity by metric name, of a token or a word as the specification asks."""
        return measured.metrics(self._spec.perplexity)
