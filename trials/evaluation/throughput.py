"""What a mask saves when the model is used: FLOPs, and tokens a second, dense and sparse.

Two speeds are measured of each model: ``prefill``, one forward over whole prompts, and ``decode``, generating token by
token with a cache. The masked model holds dense weights with zeros, so without a sparse kernel it runs as fast as the
dense one, which the table shows. Whether a kernel helps is measured where there is one.

Legend: B sequences, T tokens of a prompt.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models import FrozenModel, MaskedModel


@dataclass(frozen=True)
class Workload:
    """How a model is used: sequences at once, tokens of a prompt, tokens generated, and repetitions."""

    batch: int = 1
    prompt: int = 64
    generated: int = 32
    repeats: int = 5


@dataclass(frozen=True)
class Speed:
    """Median tokens a second of prefill and of decoding; None with the reason where it was not measured."""

    name: str
    prefill: float | None
    decode: float | None
    skipped: str = ""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one forward over one prompt, as torch counts them.

    ``prunable`` is the part in the layers that masks touch; ``with_pattern`` is the total if those layers did N/M of
    their work, which only a sparse kernel does.
    """

    dense: int
    prunable: int
    with_pattern: int


def flops(frozen: FrozenModel, *, pattern: Pattern, tokens: int) -> Flops:
    """Count the operations of a forward over ``tokens`` tokens; nothing is timed."""
    counter = FlopCounterMode(display=False)
    # The fused attention kernels of the CPU are not in torch's table; written out, attention is counted everywhere.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        frozen.module(input_ids=torch.zeros(1, tokens, dtype=torch.long, device=frozen.device), use_cache=False)
    total = int(counter.get_total_flops())
    prunable = sum(2 * tokens * layer.numel for layer in frozen.layers)
    return Flops(total, prunable, round(total - prunable * (1 - pattern.density)))


def speeds(model: MaskedModel, load: Workload, *, sparse: Callable[[], nn.Module] | None, why_not: str) -> list[Speed]:
    """Measure the dense model, the masked one, and the one that ``sparse`` makes; without it ``why_not`` says why."""
    modules = {"dense": model.frozen.module, "masked, dense kernels": model.module}
    if sparse is not None:
        modules["masked, sparse kernels"] = sparse()
    measured = _interleaved(modules, load, device=model.frozen.device)
    skipped = [] if sparse is not None else [Speed("masked, sparse kernels", None, None, why_not)]
    return [*measured, *skipped]


@torch.no_grad()
def _interleaved(modules: Mapping[str, nn.Module], load: Workload, *, device: torch.device) -> list[Speed]:
    """Time the models in turn, so that a machine that slows down for a while slows all of them."""
    prompt_BT = torch.ones(load.batch, load.prompt, dtype=torch.long, device=device)
    prefill: dict[str, list[float]] = {name: [] for name in modules}
    decode: dict[str, list[float]] = {name: [] for name in modules}
    for repeat in range(load.repeats + 1):
        for name, module in modules.items():
            first, rest = _timed(module, prompt_BT, count=load.generated, device=device)
            if repeat:  # the first round loads kernels and caches
                prefill[name].append(first)
                decode[name].append(rest)
    tokens = (load.batch * load.prompt, load.batch * load.generated)
    median = statistics.median
    return [Speed(name, tokens[0] / median(prefill[name]), tokens[1] / median(decode[name])) for name in modules]


def _timed(module: nn.Module, prompt_BT: Tensor, *, count: int, device: torch.device) -> tuple[float, float]:
    """Return the seconds of one prefill, and of appending the likeliest token ``count`` times."""
    start = _now(device)
    output: Any = module(input_ids=prompt_BT, use_cache=True)
    middle = _now(device)
    for _ in range(count):
        next_B1 = output.logits[:, -1:].argmax(-1)
        output = module(input_ids=next_B1, past_key_values=output.past_key_values, use_cache=True)
    return middle - start, _now(device) - middle


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
