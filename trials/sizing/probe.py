"""Probe: a few real steps of a trial, to measure its time and memory on this machine."""

import time
from dataclasses import dataclass, replace

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.data import Windows
from nmlab.trials.evaluation import measure_perplexity
from nmlab.trials.measure.memory import PeakMeter, release_memory
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Run, TrialContext
from nmlab.trials.models import MaskedModel

# The first step warms up (kernels, allocators, engines) and is not timed.
STEPS = 3


@dataclass(frozen=True)
class ProbeResult:
    """What a probe measured: seconds of start, step and one whole evaluation, bytes at the peak and of the state."""

    start_seconds: float
    step_seconds: float
    evaluation_seconds: float
    peak_bytes: int
    state_bytes: int


def probe(spec: TrialSpec, *, replica: ReplicaContext, steps: int = STEPS) -> ProbeResult:
    """Start a trial, take ``steps`` steps, evaluate a batch of windows, and return times and memory; write nothing.

    Results that trials share (initial masks, losses of the initial mask) stay in ``replica``, so that a second probe
    finds them there, as a second trial does.
    """
    method = registry.load(spec.method)
    windows = replica.held_out(spec.evaluation)
    model = MaskedModel(replica.frozen)
    context = TrialContext(
        replica=replica,
        model=model,
        pattern=Pattern.parse(spec.pattern),
        calibration=spec.calibration,
        seed=spec.seed,
    )
    release_memory()
    meter, begun = PeakMeter(replica.frozen.device), time.perf_counter()
    with context.cost.watch():
        run = method.start(context, method.configure(spec.hyperparameters))
    start_seconds = time.perf_counter() - begun
    step_seconds = _step_seconds(run, min(steps, run.steps))
    begun, batch = time.perf_counter(), spec.evaluation.batch_size
    model.remove_masks()
    model.apply_masks(run.masks(), weights_OI=run.weights())
    measure_perplexity(model, _first(windows, batch), batch_size=batch)
    evaluation_seconds = (time.perf_counter() - begun) * max(1.0, len(windows) / batch)
    probed = ProbeResult(start_seconds, step_seconds, evaluation_seconds, meter.rise(), run.state_bytes)
    model.remove_masks()
    del run
    release_memory()
    return probed


def _step_seconds(run: Run, steps: int) -> float:
    """Return the seconds of the quickest step after the first; losses are read in every step, so a GPU has finished."""
    taken = []
    for step in range(steps):
        begun = time.perf_counter()
        run.step(step)
        taken.append(time.perf_counter() - begun)
    return min(taken[1:] or taken or [0.0])


def _first(windows: Windows, count: int) -> Windows:
    predicted = None if windows.predicted is None else windows.predicted[:count]
    return replace(windows, tokens=windows.tokens[:count], words=windows.words[:count], predicted=predicted)
