"""The evaluations of a trial: perplexity under its masks and under those it started from, and tasks.

A trial with validation text reads it at the start, during training and at the end, and the evaluation text once, at
the end. Without validation text the evaluation text is read in its place.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.context.trial_context import TrialContext
from nmlab.trials.contract.metrics import EVAL, VALIDATION, initial_name
from nmlab.trials.contract.sections import HeldOutText
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.data import Windows
from nmlab.trials.evaluation import Perplexity, TaskResults, measure_perplexity, run_tasks
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.methods.base import Run
from nmlab.trials.trial.attempt import Attempt
from nmlab.trials.trial.footprint import Footprint


@dataclass(frozen=True, eq=False)
class Text:
    """A held-out text in windows, and what the metrics measured on it begin with."""

    section: HeldOutText
    windows: Windows
    prefix: str


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts that a trial is evaluated on.

    Attributes:
        evaluation: read at the end.
        validation: read at the start, during training and at the end; None leaves this to the evaluation text.
    """

    evaluation: Text
    validation: Text | None

    @classmethod
    def of(cls, spec: TrialSpec, *, replica: ReplicaContext) -> "Texts":
        """Read the texts of a trial, each once a replica; raises ``SourceError`` for one that cannot be read."""
        evaluation = Text(spec.evaluation, replica.held_out(spec.evaluation), EVAL)
        if spec.validation is None:
            return cls(evaluation, None)
        return cls(evaluation, Text(spec.validation, replica.held_out(spec.validation), VALIDATION))

    @property
    def chosen_on(self) -> Text:
        """The text that configurations are chosen on."""
        return self.validation or self.evaluation


@dataclass(frozen=True, eq=False)
class Measured:
    """The perplexities of final masks and of those that learning started from, None where there are none.

    ``initial`` was measured on the validation text where there is one, otherwise on the evaluation text.
    """

    evaluation: Perplexity
    validation: Perplexity | None
    initial: Perplexity | None


class Evaluations:
    """Measures the masked model of a trial on its held-out ``texts`` and on the tasks of its specification."""

    def __init__(self, attempt: Attempt, *, context: TrialContext, texts: Texts, footprint: Footprint) -> None:
        self._attempt, self._context = attempt, context
        self._texts, self._footprint = texts, footprint
        self._spec = attempt.spec.evaluation
        self.tasks: TaskResults | None = None
        """The results of the tasks, once they have run."""

    def intermediate(self, run: Run) -> dict[str, float]:
        """Return the perplexity under the masks and weights of ``run``, by metric name."""
        self._apply(run)
        return self._metrics(self._measure(self._texts.chosen_on), self._texts.chosen_on)

    def initial(self, run: Run) -> dict[str, float]:
        """Return the perplexity of the masks that ``run`` started from, by metric name; empty where it has none."""
        perplexity = self.initial_perplexity(run)
        metrics = {} if perplexity is None else self._metrics(perplexity, self._texts.chosen_on)
        return {initial_name(name): value for name, value in metrics.items()}

    def final(self, run: Run) -> tuple[Measured, dict[str, float]]:
        """Return what is measured of the final masks, which stay applied to the model, and all of it by metric name."""
        initial = self.initial_perplexity(run)
        self._apply(run)
        evaluation, validation = self._measure(self._texts.evaluation), None
        metrics = self._metrics(evaluation, self._texts.evaluation)
        if self._texts.validation is not None:
            validation = self._measure(self._texts.validation)
            metrics |= self._metrics(validation, self._texts.validation)
        return Measured(evaluation, validation, initial), {**metrics, **self._run_tasks()}

    def initial_perplexity(self, run: Run) -> Perplexity | None:
        """Return the perplexity of the masks that ``run`` started from, measured once for all trials with the same."""
        masks, text = run.initial_masks(), self._texts.chosen_on
        if masks is None:
            return None
        digests = tuple(self._attempt.pipeline.all_gather(masks_digest(masks)))

        def compute() -> Perplexity:
            self._footprint.enter("evaluation")
            self._context.model.apply_masks(masks)
            return self._read(text)

        return self._attempt.replica.get_or_compute(
            ("initial perplexity", digests, text.section), compute, pipeline=self._attempt.pipeline
        )

    def _apply(self, run: Run) -> None:
        """Apply the masks and weights of ``run`` to the model, where they stay."""
        self._footprint.enter("evaluation")
        masks = run.masks()
        for name, mask in masks.items():
            check_mask(mask, self._context.pattern, name=name)
        self._context.model.remove_masks()
        self._context.model.apply_masks(masks, weights_OI=run.weights())

    def _measure(self, text: Text) -> Perplexity:
        return self._read(text, first=self._footprint.watch("evaluation"))

    def _read(self, text: Text, first: AbstractContextManager[None] | None = None) -> Perplexity:
        batch_size = self._attempt.windows_at_once(text.section)
        return measure_perplexity(self._context.model, text.windows, batch_size=batch_size, first=first)

    def _metrics(self, measured: Perplexity, text: Text) -> dict[str, float]:
        """Return a perplexity by metric name, of a token or a word as the specification asks."""
        return measured.metrics(self._spec.perplexity, prefix=text.prefix)

    def _run_tasks(self) -> dict[str, float]:
        """Run the tasks on the model as it is masked, and return their metrics."""
        if not self._spec.tasks:
            return {}
        self.tasks = run_tasks(self._context.model, self._spec)
        return self.tasks.metrics()
