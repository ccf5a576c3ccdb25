"""How much memory a trial takes, by phase and by kind.

Two sorts of numbers. *Peaks by phase* are measured: the most that this process held while the trial was in a phase. On
a GPU this is device memory as torch allocates it; on the CPU it is resident memory, which includes the interpreter, its
libraries and everything else that runs in the process. *Kinds* are counted: weights, masked weights and state tensor by
tensor, activations as the most bytes of tensors that one step, or one batch of evaluation, creates and frees again
(`nmlab.trials.measure.tensor_meter`). Counts depend neither on the machine nor on other work in the process.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

from nmlab.trials.measure.memory import PeakMeter, can_measure_peaks
from nmlab.trials.measure.tensor_meter import TensorMeter
from nmlab.trials.parallel.pipeline_group import PipelineGroup

Phase = Literal["start", "learning", "evaluation"]


class Footprint:
    """Memory peaks and activations of one trial, by phase."""

    def __init__(self, device: torch.device, *, load_peak: int | None) -> None:
        self._device = device
        self._peaks: dict[str, int] = {} if load_peak is None else {"load": load_peak}
        self._activations: dict[str, int] = {}
        self._phase: Phase | None = None
        self._meter: PeakMeter | None = None

    @property
    def runs_model(self) -> bool:
        """Whether the trial takes steps or evaluates, where most of the memory allocated is activations."""
        return self._phase in ("learning", "evaluation")

    def enter(self, phase: Phase | None) -> None:
        """End the current phase and begin ``phase``, or none where that is None."""
        if phase == self._phase:
            return
        if self._meter is not None and self._phase is not None:
            self._peaks[self._phase] = max(self._peaks.get(self._phase, 0), self._meter.peak())
        is_measured = phase is not None and can_measure_peaks(self._device)
        self._phase, self._meter = phase, PeakMeter(self._device) if is_measured else None

    @contextmanager
    def watch(self, phase: Phase) -> Iterator[None]:
        """Count the activations of a step or batch of a phase, once a trial; costs some microseconds a kernel."""
        if phase in self._activations:
            yield
            return
        with TensorMeter() as meter:
            yield
        self._activations[phase] = meter.transient_peak

    def metrics(self, *, pipeline: PipelineGroup) -> dict[str, float]:
        """Return peaks and activations by metric name; in a pipeline group, the largest value of any rank."""
        self.enter(None)
        peaks = {f"memory/{phase}_peak_bytes": peak for phase, peak in self._peaks.items()}
        activations = {f"memory/{phase}_activation_bytes": size for phase, size in self._activations.items()}
        everyone = pipeline.all_gather({**peaks, **activations})
        return {name: float(max(of_rank.get(name, 0) for of_rank in everyone)) for name in everyone[0]}

    def state(self) -> dict[str, dict[str, int]]:
        """Return plain values for a checkpoint, from which ``restore`` continues."""
        return {"peaks": self._peaks, "activations": self._activations}

    def restore(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Continue from ``state``; of a phase that was begun again, the higher peak counts."""
        for phase, peak in state.get("peaks", {}).items():
            self._peaks[phase] = max(self._peaks.get(phase, 0), peak)
        self._activations.update(state.get("activations", {}))
