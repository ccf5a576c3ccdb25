"""Measure what a model costs in use on this machine: FLOPs, and tokens a second with and without a sparse kernel."""

from dataclasses import asdict, replace

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.evaluation.throughput import Workload, flops, speeds
from nmlab.trials.export.subject import Subject
from nmlab.trials.export.torch_sparse import TorchSparse, accelerated
from nmlab.trials.models.context_length import longest_context


def measure_speed(subject: Subject, load: Workload) -> JsonObject:
    """Return plain JSON: the workload, the device, FLOPs of a prompt, and the speed of each way to run the model."""
    pattern = subject.sparsity().pattern or Pattern(1, 1)  # a dense model saves nothing
    longest = longest_context(subject.model.frozen.module)
    if longest is not None:  # what is generated needs positions too
        load = replace(load, prompt=max(1, min(load.prompt, longest - load.generated)))
    why_not = TorchSparse().unsupported_reason(subject) or ""
    measured = speeds(subject.model, load, sparse=None if why_not else lambda: accelerated(subject), why_not=why_not)
    return {
        "workload": asdict(load),
        "device": subject.model.frozen.device.type,
        "flops": asdict(flops(subject.model.frozen, pattern=pattern, tokens=load.prompt)),
        "tokens_per_second": [asdict(speed) for speed in measured],
    }
