"""What one trial of a study is going to take: bytes by what they are for, and seconds.

Bytes of a method's state are exact (a test holds them against real runs); activations are rehearsed without contents;
seconds are an estimate from the speed of a matrix product and of a copy, unless a probe has measured them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from nmlab.platform.planning.machine import Machine
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.methods import registry
from nmlab.trials.models import ModelSource
from nmlab.trials.models.needs import FLOAT32, Needs, Shape
from nmlab.trials.models.reading import first_line
from nmlab.trials.pattern import Pattern
from nmlab.trials.sizing.dry_run import Measured, Stage
from nmlab.trials.sizing.preflight import Facts
from nmlab.trials.sizing.probe import Probed
from nmlab.trials.spec import TrialSpec

# An elementwise operation reads about as much as it writes, and a block of a model has as many again in place.
_TRAFFIC = 3.0


@dataclass(frozen=True)
class Forecast:
    """What one trial needs of its slot, in bytes, and how long it takes; ``known`` says of what its method told."""

    method: str
    state: Mapping[str, int]
    uncertain: int
    masked: int
    start: int
    step: int
    evaluation: int
    start_seconds: float
    step_seconds: float
    evaluation_seconds: float
    extra_seconds: float = 0.0
    measured: bool = False
    known: bool = True
    peak: int | None = None
    shared: Mapping[str, int] = field(default_factory=dict)
    """What the replica keeps for other trials as well; no part of the slot."""

    @property
    def state_bytes(self) -> int:
        return sum(self.state.values())

    @property
    def slot_bytes(self) -> int:
        """The most that is held at once for the trial: what a probe saw, or what is held and the largest phase."""
        if self.peak is not None:
            return self.peak
        return self.state_bytes + self.uncertain + max(self.start, self.step, self.evaluation)

    def seconds(self, *, steps: int, evaluations: int) -> float:
        """Return the length of a trial."""
        learning = self.start_seconds + steps * self.step_seconds
        return learning + evaluations * self.evaluation_seconds + self.extra_seconds


class Forecaster:
    """Forecasts for the trials of one study; what they have in common is rehearsed once."""

    def __init__(self, study: Study, facts: Facts, *, machine: Machine, stage: Stage | None = None) -> None:
        self._study, self._facts, self._machine = study, facts, machine
        self._given = stage
        self._backwards: dict[tuple[str, str], Measured] = {}
        self.unknown: dict[str, str] = {}
        """What could not be rehearsed, and so counts as nothing, each with the reason."""

    def of(self, spec: TrialSpec, *, probed: Probed | None = None) -> Forecast:
        """Return the forecast of a trial, with what a probe measured in place of what was estimated."""
        method = registry.get(spec.method)
        shape = self._shape(spec)
        needs = method.needs(shape, method.configure(spec.hyperparameters))
        forecast = self._forecast(spec, shape, needs or Needs(), known=needs is not None)
        if probed is None:
            return forecast
        state = forecast.state if needs else {"measured": probed.state_bytes}
        return replace(
            forecast,
            state=state,
            peak=probed.peak_bytes,
            start_seconds=probed.start_seconds,
            step_seconds=probed.step_seconds,
            evaluation_seconds=probed.evaluation_seconds,
            measured=True,
            known=True,
        )

    def _forecast(self, spec: TrialSpec, shape: Shape, needs: Needs, *, known: bool) -> Forecast:
        step = self._step(spec, shape, needs)
        batches = spec.calibration.minibatches
        parts = -(-spec.calibration.batch_size // spec.calibration.at_once)
        forward_seconds = parts * self._seconds(self._forward)
        passes = needs.passes * 2 * FLOAT32 * shape.prunable / self._machine.copied
        learns = registry.get(spec.method).learned
        # A forward wears masked weights; a backward has made them itself, and counts them.
        masked = 0 if needs.weights else needs.masked
        evaluated = -(-self._facts.evaluation_windows // spec.evaluation.batch_size)
        return Forecast(
            method=spec.method,
            state=dict(needs.state),
            uncertain=needs.uncertain,
            masked=needs.masked,
            start=needs.masked + needs.start + self._forward.peak_bytes,
            step=(masked + needs.step + step.peak_bytes) if learns else 0,
            evaluation=needs.masked + shape.prunable + self._evaluation.peak_bytes,
            start_seconds=needs.start_reads * batches * forward_seconds,
            step_seconds=(needs.forwards * parts * self._seconds(step) + passes) if learns else 0.0,
            evaluation_seconds=evaluated * self._seconds(self._evaluation),
            extra_seconds=needs.extra_forwards * forward_seconds,
            known=known,
            shared=needs.shared,
        )

    def _shape(self, spec: TrialSpec) -> Shape:
        return Shape(
            layers=self._facts.prunable_layers,
            sizes=self._facts.sizes,
            element_bytes=FLOAT32 if spec.model.dtype == "float32" else 2,
            hidden=self._facts.hidden,
            pattern=Pattern.parse(spec.pattern),
            sequences=spec.calibration.samples,
            length=spec.calibration.sequence_length,
            device=self._machine.device,
        )

    def _step(self, spec: TrialSpec, shape: Shape, needs: Needs) -> Measured:
        if needs.weights is None:
            return self._forward
        key = (spec.method, spec.pattern)
        if key not in self._backwards:
            calibration = spec.calibration
            size = {"batch": calibration.at_once, "length": calibration.sequence_length}
            weights = needs.weights
            what = f"a backward of {spec.method} {spec.pattern}"
            self._backwards[key] = self._rehearsed(what, lambda: self._stage.backward(weights, **size))
        return self._backwards[key]

    @cached_property
    def _stage(self) -> Stage:
        return self._given or Stage(ModelSource(**self._study.model.model_dump()))

    @cached_property
    def _forward(self) -> Measured:
        calibration = self._study.data.calibration
        at_once = calibration.micro_batch or calibration.batch_size
        length = calibration.sequence_length
        return self._rehearsed("a forward", lambda: self._stage.forward(batch=at_once, length=length))

    @cached_property
    def _evaluation(self) -> Measured:
        evaluation = self._study.data.evaluation
        batch = min(evaluation.batch_size, self._facts.evaluation_windows)
        length = evaluation.sequence_length
        return self._rehearsed("an evaluation", lambda: self._stage.evaluation(batch=batch, length=length))

    def _rehearsed(self, what: str, rehearse: Callable[[], Measured]) -> Measured:
        """Return what a rehearsal tells; nothing, with a note, where an architecture cannot run without contents."""
        try:
            return rehearse()
        except Exception as error:  # kernels without contents raise whatever they like
            self.unknown[what] = first_line(error).rstrip(".")
            return Measured(0, 0, 0, 0)

    def _seconds(self, rehearsed: Measured) -> float:
        machine = self._machine
        moved = _TRAFFIC * rehearsed.written_bytes / machine.copied
        return rehearsed.flops / machine.flops + moved + rehearsed.calls * machine.call
