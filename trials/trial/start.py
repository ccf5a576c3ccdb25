"""The start of a trial: what it is given is checked, and the run of its method is started."""

from nmlab.trials.context.trial_context import TrialContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import MethodConfig
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.prunable import check_divisible
from nmlab.trials.trial.account import cost_metrics
from nmlab.trials.trial.attempt import Attempt
from nmlab.trials.trial.evaluations import Texts
from nmlab.trials.trial.footprint import Footprint
from nmlab.trials.trial.loop import TrialLoop


class TrialStart:
    """A trial that is being started; it accounts for an error up to the moment when ``begin`` returns the loop."""

    step = 0
    tasks = None
    runs_model = False

    def __init__(self, attempt: Attempt) -> None:
        frozen = attempt.replica.frozen
        self.attempt = attempt
        self.notes: list[str] = []
        self.started_from: dict[str, JsonObject] = {}
        self._cost = Cost()
        self._footprint = Footprint(frozen.device, load_peak=frozen.load_peak_bytes)

    def begin(self) -> TrialLoop:
        """Check the attempt and start the run of its method; raises ``ValueError`` for what does not fit together."""
        pattern, config = self._checked()
        context = self._context(pattern)
        texts = Texts.of(self.attempt.spec, replica=self.attempt.replica)
        method = registry.load(self.attempt.spec.method)
        self._footprint.enter("start")
        with self._cost.watch():
            run = method.start(context, config)
        self._cost.start_ended()
        return TrialLoop(self.attempt, context=context, run=run, texts=texts, footprint=self._footprint)

    def spent(self) -> dict[str, float]:
        """Return what the start has cost so far."""
        return cost_metrics(self._cost, steps=0, has_step=False)

    def _checked(self) -> tuple[Pattern, MethodConfig]:
        spec, layers = self.attempt.spec, self.attempt.replica.frozen.layers
        pattern, method = Pattern.parse(spec.pattern), registry.get(spec.method)
        config = method.configure(spec.hyperparameters)
        if method.sparse:
            check_divisible(layers, pattern=pattern)
        reason = method.unsupported_reason(pattern, config)
        reason = reason or method.unsupported_calibration_reason(config, spec.calibration)
        if reason:
            raise ValueError(f"{method.name}: {reason}")
        return pattern, config

    def _context(self, pattern: Pattern) -> TrialContext:
        attempt, model = self.attempt, MaskedModel(self.attempt.replica.frozen, pipeline=self.attempt.pipeline)
        model.micro_batch = attempt.micro_batch
        self.notes.extend(attempt.notes)
        return TrialContext(
            replica=attempt.replica,
            model=model,
            pattern=pattern,
            calibration=attempt.spec.calibration,
            seed=attempt.spec.seed,
            cost=self._cost,
            notes=self.notes,
            started_from=self.started_from,
            evaluators=attempt.evaluators,
        )
