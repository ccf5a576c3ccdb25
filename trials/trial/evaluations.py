"""The evaluations of a trial: perplexity under its masks and under those it started from, and tasks.

A trial with validation text reads it at the start, during training and at the end, and the evaluation text once, at
the end. Without validation text the evaluation text is read in its place. Neutral texts are read at the end, and at
the start of a trial that learns.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.context.trial_context import TrialContext
from nmlab.trials.contract.metrics import EVAL, VALIDATION, initial_name, neutral_prefix
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
        neutral: read at the start and at the end, by name.
    """

    evaluation: Text
    validation: Text | None
    neutral: Mapping[str, Text] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: TrialSpec, *, replica: ReplicaContext) -> "Texts":
        """Read the texts of a trial, each once a replica; raises ``SourceError`` for one that cannot be read."""

        def text(section: HeldOutText, prefix: str) -> Text:
            return Text(section, replica.held_out(section), prefix)

        validation = None if spec.validation is None else text(spec.validation, VALIDATION)
        neutral = {own.name: text(own, neutral_prefix(own.name)) for own in spec.neutral or ()}
        return cls(text(spec.evaluation, EVAL), validation, neutral)

    @property
    def chosen_on(self) -> Text:
        """The text that configurations are chosen on."""
        return self.validation or self.evaluation

    @property
    def of_the_start(self) -> tuple[Text, ...]:
        """The texts that masks are measured on before anything is learned."""
        return (self.chosen_on, *self.neutral.values())


@dataclass(frozen=True, eq=False)
class MeasuredNeutral:
    """The perplexities of final masks on a neutral text, and of those that learning started from, None without any."""

    final: Perplexity
    initial: Perplexity | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """The perplexities of final masks and of those that learning started from, None where there are none.

    ``initial`` was measured on the validation text where there is one, otherwise on the evaluation text.
    """

    evaluation: Perplexity
    validation: Perplexity | None = None
    initial: Perplexity | None = None
    neutral: Mapping[str, MeasuredNeutral] = field(default_factory=dict)
    """By the name of the text."""


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
        """Return the perplexities of the masks that ``run`` started from, by metric name; empty where it has none."""
        metrics = [self._metrics(perplexity, text) for text, perplexity in self._starts(run).items()]
        return {initial_name(name): value for own in metrics for name, value in own.items()}

    def final(self, run: Run) -> tuple[Measured, dict[str, float]]:
        """Return what is measured of the final masks, which stay applied to the model, and all of it by metric name."""
        texts, starts = self._texts, self._starts(run)
        self._apply(run)
        read = (texts.evaluation, texts.validation, *texts.neutral.values())
        found = {text: self._measure(text) for text in read if text is not None}
        measured = Measured(
            evaluation=found[texts.evaluation],
            validation=None if texts.validation is None else found[texts.validation],
            initial=starts.get(texts.chosen_on),
            neutral={name: MeasuredNeutral(found[text], starts.get(text)) for name, text in texts.neutral.items()},
        )
        metrics = [self._metrics(perplexity, text) for text, perplexity in found.items()]
        return measured, {name: value for own in (*metrics, self._run_tasks()) for name, value in own.items()}

    def _starts(self, run: Run) -> dict[Text, Perplexity]:
        """Return the perplexities of the masks that ``run`` started from, by text; empty where it has none.

        Each is measured once for all trials that start from the same masks.
        """
        if (masks := run.initial_masks()) is None:
            return {}
        digests = tuple(self._attempt.pipeline.all_gather(masks_digest(masks)))

        def measured_on(text: Text) -> Perplexity:
            def compute() -> Perplexity:
                self._footprint.enter("evaluation")
                self._context.model.apply_masks(masks)
                return self._read(text)

            key = ("initial perplexity", digests, text.section)
            return self._attempt.replica.get_or_compute(key, compute, pipeline=self._attempt.pipeline)

        return {text: measured_on(text) for text in self._texts.of_the_start}

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
