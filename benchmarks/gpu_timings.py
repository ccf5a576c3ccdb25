"""How fast MaskPro steps are on a device, and what they hold; the second part of `gpu.py`.

Every step here is ``MaskProRun.step``, the one that trials take, on a model of random weights.
Legend: B batch, T tokens, O outputs, I inputs.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_checks import Row, row
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.measure.out_of_memory import is_out_of_memory
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Run, TrialContext
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource
from nmlab.trials.models.frozen import read_tokenizer
from nmlab.trials.models.prunable import prunable_layers
from nmlab.trials.models.sources import locate
from nmlab.trials.trial.checkpoint import CheckpointFolder

# Hidden size, intermediate size, blocks, heads, vocabulary, tokens of a step as batch x length: Llama-2-7B, and a toy.
LARGE, SMALL = (4096, 11008, 32, 32, 32000, (32, 128)), (32, 64, 1, 2, 32000, (2, 8))
COLD = {"logit_magnitude": 10.0, "initial_mask": "magnitude"}
# What a run is called, its settings, and the most that its step may cost of a dense forward. The slow ones come last.
RUNS: tuple[tuple[str, Mapping[str, Any], float | None], ...] = (
    ("auto", {}, 1.05),
    ("auto, bfloat16_delta", {"logits": "bfloat16_delta"}, 1.05),
    ("auto, multiplied", {"masked_weights": "multiplied"}, None),
    ("event", {"engine": "event"}, None),
    ("triton", {"engine": "triton"}, None),
    ("triton, bfloat16_delta, multiplied",
     {"engine": "triton", "logits": "bfloat16_delta", "masked_weights": "multiplied"}, None),
    ("auto, C = 8", {"logit_magnitude": 8.0}, None),
    ("linear", {"engine": "linear"}, None),
    ("official", {"compat": "official"}, None),
)  # fmt: skip


@dataclass(eq=False)
class GivenTokens(TrialContext):
    """A setting whose minibatches are drawn at random: their content does not change what a step costs."""

    size: tuple[int, int] = (32, 128)

    @property
    def batches(self) -> list[Tensor]:
        draw = torch.Generator().manual_seed(0)
        return list(torch.randint(self.model.frozen.vocabulary_size, (2, *self.size), generator=draw))


def timings(device: torch.device, *, small: bool, until: float) -> Iterator[Callable[[], list[Row]]]:
    """Yield the measurements; each returns its rows when it is called, and takes no new step after ``until``."""
    sizes = SMALL if small else LARGE
    replica = random_replica(sizes, device=device)
    repeats = 1 if small else 20
    for name, settings, aim in RUNS:
        yield partial(step_rows, replica, name, settings, aim=aim, tokens=sizes[-1], repeats=repeats, until=until)
    yield partial(checkpoint_rows, random_replica(SMALL, device=device), tokens=SMALL[-1])


def random_replica(sizes: tuple[int, int, int, int, int, tuple[int, int]], *, device: torch.device) -> ReplicaContext:
    """Return a model of random bfloat16 weights; its digest is none, since hashing 13 GB takes longer than a run."""
    hidden, intermediate, blocks, heads, vocabulary, _ = sizes
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=intermediate,
                         num_hidden_layers=blocks, num_attention_heads=heads)  # fmt: skip
    torch.manual_seed(0)
    with device:
        module = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).eval().requires_grad_(False)
    tiny = ModelSource(source="builtin:tiny")
    tokenizer = read_tokenizer(locate(tiny), tiny)
    source = ModelSource(source="random:7B" if hidden > 1000 else "random:toy", dtype="bfloat16")
    return ReplicaContext(FrozenModel(source, module, tokenizer, prunable_layers(module), "0" * 16))


def begin(replica: ReplicaContext, settings: Mapping[str, Any], *, tokens: tuple[int, int]) -> tuple[Run, GivenTokens]:
    """Start a run of MaskPro."""
    text, maskpro = CalibrationSpec(source="given"), registry.get("maskpro")
    context = GivenTokens(replica, MaskedModel(replica.frozen), Pattern(2, 4), text, seed=0, size=tokens)
    return maskpro.start(context, maskpro.configure({**COLD, "steps": 1000, **settings})), context


def step_rows(
    replica: ReplicaContext,
    name: str,
    settings: Mapping[str, Any],
    *,
    aim: float | None,
    tokens: tuple[int, int],
    repeats: int,
    until: float,
) -> list[Row]:
    """Return times, peaks and bytes of one kind of run; one row that says so where memory ran out."""
    device, rows = replica.frozen.device, []
    try:
        forget(device)
        started = time.perf_counter()
        run, context = begin(replica, settings, tokens=tokens)
        rows.append(row(f"{name}: start", 1e3 * (time.perf_counter() - started), unit="ms"))
        rows.append(row(f"{name}: peak of the start", peak(device), unit="bytes"))
        rows += _steps(name, run, context, aim=aim, repeats=repeats, until=until)
        forget(device)
        state = run.state()
        rows.append(row(f"{name}: peak of the state", peak(device), unit="bytes"))
        del state
        weights = sum(layer.numel for layer in replica.frozen.layers)
        rows.append(row(f"{name}: bytes of state a weight", run.state_bytes / weights, unit="bytes"))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        rows.append(row(f"{name}: went no further", None, aim=str(error).splitlines()[0][:100]))
    return rows


def _steps(name: str, run: Run, context: GivenTokens, *, aim: float | None, repeats: int, until: float) -> list[Row]:
    device, dense, tokens = context.replica.frozen.device, MaskedModel(context.replica.frozen), context.batches[0]
    run.step(0)  # puts masked weights on the model as a whole
    run.step(1)
    before = dict(context.cost.seconds)
    forget(device)
    forwards, steps = [], []
    while len(steps) < repeats and (not steps or time.monotonic() < until):
        forwards.append(milliseconds(device, lambda: dense.loss(tokens)))
        steps.append(milliseconds(device, lambda: run.step(len(steps) + 2)))
    ratio = statistics.median(step / forward for step, forward in zip(steps, forwards, strict=True))
    rows = [
        row(f"{name}: dense forward", statistics.median(forwards), unit="ms"),
        row(f"{name}: step, median of {len(steps)}", statistics.median(steps), unit="ms"),
        row(f"{name}: step over dense forward", ratio, unit="ratio",
            aim=f"<= {aim}" if aim else "", holds=ratio <= aim if aim else None),
        row(f"{name}: peak of steps", peak(device), unit="bytes"),
    ]  # fmt: skip
    for phase, seconds in context.cost.seconds.items():
        if phase != "total":
            rows.append(row(f"{name}: {phase}", 1e3 * (seconds - before[phase]) / len(steps), unit="ms a step"))
    return rows


def checkpoint_rows(replica: ReplicaContext, *, tokens: tuple[int, int]) -> list[Row]:
    """Take four steps, and two, a checkpoint and two more; count the tensors of the state that differ."""
    undisturbed, _ = begin(replica, {}, tokens=tokens)
    before, _ = begin(replica, {}, tokens=tokens)
    after, _ = begin(replica, {}, tokens=tokens)
    for step in range(4):
        undisturbed.step(step)
    before.step(0), before.step(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointFolder(Path(folder), key="0" * 16)
        checkpoints.save(2, tensors=before.state(), values={})
        saved = checkpoints.newest()
    assert saved is not None
    after.load_state(saved.tensors)
    after.step(2), after.step(3)
    mine, theirs = undisturbed.state(), after.state()
    differ = sum(not torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    return [row("tensors that differ after a checkpoint", differ, aim="0", holds=differ == 0)]


def milliseconds(device: torch.device, work: Callable[[], object]) -> float:
    """Return how long ``work`` takes, between CUDA events where there are any."""
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def forget(device: torch.device) -> None:
    """Let go of what earlier runs left, and begin a new peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: torch.device) -> float | None:
    """Return the peak since ``forget``; None where there is no GPU to tell."""
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else None
