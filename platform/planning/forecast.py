"""Forecast what one trial of a study takes, bytes by purpose and seconds, and what the trials of a worker share.

Bytes of a method's state are exact (a test compares them with real runs); activations are counted by a dry run on
tensors without contents; seconds are an estimate from the speed of a matrix product and of a copy, unless measured by
a probe.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from nmlab.platform.planning.machine import Machine
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.context.result_cache import CACHE_BYTES
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import EvaluationSpec, HeldOutText, NeutralSpec, ValidationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry
from nmlab.trials.models.dense_teacher import predictions_bytes
from nmlab.trials.models.needs import FLOAT32, PER_SEED, MakeWeights, Needs, Shape
from nmlab.trials.models.reading import first_line
from nmlab.trials.sizing.dry_run import DryRunCounts, FakeTensorModel
from nmlab.trials.sizing.preflight import PreflightFacts
from nmlab.trials.sizing.probe import ProbeResult

_TRAFFIC = 3.0
"""Bytes moved for each byte that a dry run counts as written: an elementwise operation reads about as much as it
writes, and a block of a model has as many again in place."""
_TOKEN_BYTES = 8
"""Bytes of a token in the cache of a worker, a 64-bit integer."""
_EVALUATIONS: Mapping[type[HeldOutText], str] = {
    EvaluationSpec: "an evaluation",
    ValidationSpec: "a validation",
    NeutralSpec: "an evaluation on a neutral text",
}
"""What messages call the evaluation on a text."""


@dataclass(frozen=True)
class Forecast:
    """The bytes that one trial needs of its slot, and its seconds.

    Attributes:
        state_parts: bytes of its state by part.
        uncertain_bytes: how many of these depend on the course of the run; the slot has as many more, as a margin.
        masked_bytes: of its masked weights, which the phases contain.
        start_bytes: beside the state while it starts; `step_bytes` in a step, `evaluation_bytes` in an evaluation.
        extra_seconds: of the diagnostics at the end.
        measured: whether a probe measured it.
        known: whether its method declares its needs.
        peak_bytes: the most bytes that a probe measured.
        shared: bytes that the replica keeps for other trials too, by name; no part of the slot.
    """

    method: str
    state_parts: Mapping[str, int]
    uncertain_bytes: int
    masked_bytes: int
    start_bytes: int
    step_bytes: int
    evaluation_bytes: int
    start_seconds: float
    step_seconds: float
    evaluation_seconds: float
    extra_seconds: float = 0.0
    measured: bool = False
    known: bool = True
    peak_bytes: int | None = None
    shared: Mapping[str, int] = field(default_factory=dict)

    @property
    def state_bytes(self) -> int:
        return sum(self.state_parts.values())

    @property
    def slot_bytes(self) -> int:
        """The most bytes held at once for the trial: as a probe measured, or state and the largest phase."""
        if self.peak_bytes is not None:
            return self.peak_bytes
        return self.state_bytes + self.uncertain_bytes + max(self.start_bytes, self.step_bytes, self.evaluation_bytes)

    def seconds(self, *, steps: int, evaluations: float) -> float:
        """Return the seconds of a trial."""
        learning = self.start_seconds + steps * self.step_seconds
        return learning + evaluations * self.evaluation_seconds + self.extra_seconds


class Forecaster:
    """Makes the forecasts of the trials of one study; dry runs that they have in common are made once."""

    def __init__(
        self, study: Study, facts: PreflightFacts, *, machine: Machine, fake_model: FakeTensorModel | None = None
    ) -> None:
        self._study, self._facts, self._machine = study, facts, machine
        self._given = fake_model
        self._forwards: dict[bool, DryRunCounts] = {}
        self._backwards: dict[str, DryRunCounts] = {}
        self._evaluations: dict[tuple[str, int, int], DryRunCounts] = {}
        self.unknown: dict[str, str] = {}
        """What could not be counted, because its dry run failed, with the reason; it counts as zero."""

    def of(self, spec: TrialSpec, *, probed: ProbeResult | None = None) -> Forecast:
        """Return the forecast of a trial; what a probe measured replaces what is estimated."""
        method = registry.get(spec.method)
        shape = self._shape(spec)
        needs = method.needs(shape, method.configure(spec.hyperparameters))
        forecast = self._forecast(spec, shape, needs or Needs(), known=needs is not None)
        if probed is None:
            return forecast
        state = forecast.state_parts if needs else {"measured": probed.state_bytes}
        return replace(
            forecast,
            state_parts=state,
            peak_bytes=probed.peak_bytes,
            start_seconds=probed.start_seconds,
            step_seconds=probed.step_seconds,
            evaluation_seconds=probed.evaluation_seconds,
            measured=True,
            known=True,
        )

    def _forecast(self, spec: TrialSpec, shape: Shape, needs: Needs, *, known: bool) -> Forecast:
        step = self._backward(spec, needs.weights, of="a backward", distills=needs.distills)
        start = self._backward(spec, needs.start_weights, of="a backward of the start")
        forward = self._forward(distills=needs.distills)
        batches = spec.calibration.minibatches
        parts = -(-spec.calibration.batch_size // spec.calibration.at_once)
        forward_seconds = parts * self._seconds(self._forward())
        passes = needs.passes * 2 * FLOAT32 * shape.prunable / self._machine.copied_bytes_per_second
        learns = registry.get(spec.method).learned
        # A forward holds masked weights; the dry run of a backward makes them itself and counts them.
        masked = 0 if needs.weights else needs.masked
        evaluated = -(-self._facts.evaluation_windows // spec.evaluation.batch_size)
        tokens = needs.held_batches * spec.calibration.batch_size * spec.calibration.sequence_length
        held = predictions_bytes(tokens=tokens, vocabulary=shape.vocabulary)
        dense_seconds = needs.dense_forwards * forward_seconds
        return Forecast(
            method=spec.method,
            state_parts=dict(needs.state),
            uncertain_bytes=needs.uncertain,
            masked_bytes=needs.masked,
            start_bytes=needs.masked + needs.start + max(forward.peak_bytes, start.peak_bytes),
            step_bytes=(masked + needs.step + held + step.peak_bytes) if learns else 0,
            evaluation_bytes=needs.masked + shape.prunable + held + max(one.peak_bytes for one in self._held_out),
            start_seconds=needs.start_reads * batches * forward_seconds,
            step_seconds=(needs.forwards * parts * self._seconds(step) + dense_seconds + passes) if learns else 0.0,
            evaluation_seconds=evaluated * self._seconds(self._held_out[0]),
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
            minibatches=spec.calibration.minibatches,
            vocabulary=self._facts.vocabulary_size,
        )

    def _backward(
        self, spec: TrialSpec, weights: MakeWeights | None, *, of: str, distills: bool = False
    ) -> DryRunCounts:
        """Return what a minibatch takes under ``weights``, with its gradient; without them, what a forward takes."""
        if weights is None:
            return self._forward(distills=distills)
        what = f"{of} of {spec.method} {spec.pattern}{' that distills' if distills else ''}"
        if what not in self._backwards:
            calibration = spec.calibration
            size = {"batch": calibration.at_once, "length": calibration.sequence_length}
            self._backwards[what] = self._dry_run(
                what, lambda: self._fake_model.backward(weights, **size, distills=distills)
            )
        return self._backwards[what]

    @cached_property
    def _fake_model(self) -> FakeTensorModel:
        return self._given or FakeTensorModel(self._study.model)

    def _forward(self, *, distills: bool = False) -> DryRunCounts:
        if distills not in self._forwards:
            calibration = self._study.data.calibration
            at_once = calibration.micro_batch or calibration.batch_size
            length = calibration.sequence_length
            self._forwards[distills] = self._dry_run(
                "a forward", lambda: self._fake_model.forward(batch=at_once, length=length, distills=distills)
            )
        return self._forwards[distills]

    @cached_property
    def _held_out(self) -> list[DryRunCounts]:
        """What each held-out text takes at a time, that of the evaluation first."""
        return [self._evaluation(text, windows) for text, windows in held_out(self._study, self._facts)]

    def _evaluation(self, text: HeldOutText, windows: int) -> DryRunCounts:
        what, batch, length = _EVALUATIONS[type(text)], min(text.batch_size, windows), text.sequence_length
        key = (what, batch, length)
        if key not in self._evaluations:
            self._evaluations[key] = self._dry_run(
                what, lambda: self._fake_model.evaluation(batch=batch, length=length)
            )
        return self._evaluations[key]

    def _dry_run(self, what: str, run: Callable[[], DryRunCounts]) -> DryRunCounts:
        """Return what a dry run counts; zeros, with a note, if the architecture cannot run without contents."""
        try:
            return run()
        except Exception as error:  # kernels raise many types of errors on tensors without contents
            self.unknown[what] = first_line(error).rstrip(".")
            return DryRunCounts(peak_bytes=0, written_bytes=0, calls=0, flops=0)

    def _seconds(self, counted: DryRunCounts) -> float:
        machine = self._machine
        moved = _TRAFFIC * counted.written_bytes / machine.copied_bytes_per_second
        return counted.flops / machine.flops_per_second + moved + counted.calls * machine.call_seconds


def held_out(study: Study, facts: PreflightFacts) -> list[tuple[HeldOutText, int]]:
    """Return the held-out texts of a study with the windows of each: evaluation, validation, then neutral texts."""
    data = study.data
    chosen_on = [] if data.validation is None else [(data.validation, facts.validation_windows)]
    neutral = [(text, facts.neutral_windows[text.name]) for text in data.neutral_texts]
    return [(data.evaluation, facts.evaluation_windows), *chosen_on, *neutral]


@dataclass(frozen=True)
class SharedResults:
    """Bytes of a worker's cache: ``most`` it may take at once, ``all_kept`` it would take without a limit."""

    most: int
    all_kept: int


def shared_results(
    trials: Iterable[tuple[TrialSpec, Mapping[str, int]]],
    *,
    held_out_tokens: int,
    seeds: int,
    slots: int,
    budget: int = CACHE_BYTES,
) -> SharedResults:
    """Return the bytes that trials leave in a worker's cache, given what each shares (``Needs.shared``).

    Beyond its budget the cache holds only what running trials use: at worst that of the ``slots`` largest trials.
    """
    kept: dict[Hashable, int] = {"evaluation": _TOKEN_BYTES * held_out_tokens}
    largest = 0
    for spec, shared in trials:
        text = spec.calibration
        mine: dict[Hashable, int] = {("tokens", text): _TOKEN_BYTES * text.samples * text.sequence_length}
        mine |= {(name, text): size for name, size in shared.items()}
        largest = max(largest, sum(mine.values()) + kept["evaluation"])
        kept |= mine
        kept |= {(name, text): seeds * size for name, size in shared.items() if name.endswith(PER_SEED)}
    all_kept = sum(kept.values())
    return SharedResults(min(all_kept, budget + slots * largest), all_kept)
