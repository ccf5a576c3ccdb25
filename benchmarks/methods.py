"""Seconds and peak memory of every method on a model of 25 million prunable weights, beside its floor.

The floor of a method is the work that no implementation of it can do without, and nothing else:

    wanda                      two forwards of the calibration text (blocks are measured, then run pruned)
    gblm                       the same, and a forward and backward of each sequence alone
    pruner_zero                a forward and backward of each sequence alone
    sparsegpt, sparsegpt_mask  two forwards, X^T X of every layer's inputs, and one Cholesky factorisation of each
    magnitude                  |W| and torch.topk of every group
    first_order                that of wanda; a forward and backward with masks of real numbers of each minibatch of its
                               gradient, a forward of each of its line search for the start and every step size
    random                     a random number a weight and torch.topk of every group
    susi, soft_topn, simple,
    maskllm                    a forward and backward with every weight masked by real numbers that take the gradient
    proxsparse                 a forward and backward with the gradient of every parameter
    maskpro                    a forward

What a method adds is its own: statistics, scores, selection, and for SparseGPT the columns' updates. For the learned
methods a step is measured, for the others the whole method. The claims: one-shot methods within 1.5 times their floor,
a step of SUSI within 1.3 times. Peak memory is what the process's resident memory rises by beyond the model and text.

Every method has a process of its own, in which it and its floor take turns; medians over the rounds are compared.
Seconds are processor time of the one thread, which other work on the machine disturbs less than the clock on the wall.

    python benchmarks/methods.py --methods wanda,susi --rounds 3 --json methods.json
"""

import argparse
import gc
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ONE_SHOT = ("random", "magnitude", "wanda", "sparsegpt", "sparsegpt_mask", "gblm", "pruner_zero", "first_order")
LEARNED = ("maskllm", "proxsparse", "maskpro", "susi", "soft_topn", "simple")
CLAIMS = {**{name: 1.5 for name in ONE_SHOT if name != "first_order"}, "susi": 1.3}
HYPERPARAMETERS: dict[str, dict[str, Any]] = {name: {"steps": 1000} for name in LEARNED}


@dataclass(frozen=True)
class Size:
    """Of the model (hidden width, decoder blocks) and of the text (sequences, their tokens, sequences a batch)."""

    width: int
    blocks: int
    samples: int
    sequence_length: int
    batch_size: int


def write_model(folder: Path, *, size: Size) -> None:
    """Write a random Llama-shaped float32 checkpoint with the tokenizer of the shipped model."""
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    from nmlab.trials.models.sources import BUILTIN

    config = LlamaConfig(
        vocab_size=512,
        hidden_size=size.width,
        intermediate_size=size.width * 11 // 4,
        num_attention_heads=8,
        num_hidden_layers=size.blocks,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUILTIN["builtin:tiny"] / name, folder / name)


def setting_on(frozen: Any, *, size: Size, pattern: str) -> Any:
    """Return a trial context in which nothing is computed yet but the calibration tokens."""
    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.sections import CalibrationSpec
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import MaskedModel

    text = {"samples": size.samples, "sequence_length": size.sequence_length, "batch_size": size.batch_size}
    calibration = CalibrationSpec(source="builtin:python-docs", **text)
    replica = ReplicaContext(frozen)
    replica.calibration(calibration)
    view = MaskedModel(frozen)
    return TrialContext(replica=replica, model=view, pattern=Pattern.parse(pattern), calibration=calibration, seed=0)


def method_work(name: str, context: Any) -> Callable[[], object]:
    """Return the work to time: a whole one-shot method, or the next step of a learned one."""
    from nmlab.trials.methods import registry

    method = registry.get(name)
    config = method.configure(HYPERPARAMETERS.get(name, {}))
    if not method.learned:
        return lambda: method.start(context, config).masks()
    run = method.start(context, config)
    steps = iter(range(run.steps))
    return lambda: run.step(next(steps))


def floor_work(name: str, context: Any) -> Callable[[], object]:
    """Return the floor of a method (see above) as something to time."""
    floors: dict[str, tuple[Callable[[Any], object], ...]] = {
        "random": (partial(selection, draws=True),),
        "magnitude": (partial(selection, draws=False),),
        "wanda": (forward, forward),
        "sparsegpt": (forward, forward, hessians),
        "sparsegpt_mask": (forward, forward, hessians),
        "gblm": (forward, forward, gradients),
        "pruner_zero": (gradients,),
        "first_order": (forward, forward, first_order_passes),
        "maskllm": (masked_step,),
        "susi": (masked_step,),
        "soft_topn": (masked_step,),
        "simple": (masked_step,),
        "proxsparse": (full_step,),
        "maskpro": (one_forward,),
    }
    return lambda: [part(context) for part in floors[name]]


def forward(context: Any) -> None:
    """The calibration text through the dense model."""
    for batch in context.batches:
        context.model.loss(batch)


def one_forward(context: Any) -> None:
    """One minibatch through the dense model."""
    context.model.loss(context.batches[0])


def gradients(context: Any) -> None:
    """Every calibration sequence forwards and backwards; a layer's gradient is dropped as soon as it is there."""
    leaves = _leaves(context, prunable_only=True)
    for sequence_1T in (sequence[None] for batch in context.batches for sequence in batch):
        context.model.loss_under(leaves, sequence_1T).backward()


def full_step(context: Any) -> None:
    """One minibatch forwards and backwards to every parameter."""
    context.model.loss_under(_leaves(context, prunable_only=False), context.batches[0]).backward()


def masked_step(context: Any) -> None:
    """One minibatch forwards and backwards to a real mask of every prunable weight."""
    import torch

    masks = {
        layer.name: torch.full((layer.out_features, layer.in_features), 0.5, requires_grad=True)
        for layer in context.model.frozen.layers
    }
    context.model.loss_under(context.model.masked_weights(masks), context.batches[0]).backward()


def first_order_passes(context: Any) -> None:
    """The minibatches of the gradient forwards and backwards, those of the line search forwards for each step size."""
    from nmlab.trials.methods import registry
    from nmlab.trials.methods.first_order.maths import split_minibatches

    config = registry.get("first_order").configure({})
    read, searched = split_minibatches(
        len(context.batches), gradient=config.gradient_batches, search=config.line_search_batches
    )
    for _ in range(read):
        masked_step(context)
    for _ in range(searched * (1 + config.kappa_count)):
        one_forward(context)


def hessians(context: Any) -> None:
    """X^T X over inputs of the calibration text's size, and one Cholesky factorisation, for every layer."""
    import torch

    for layer in context.model.frozen.layers:
        moment_II = torch.zeros(layer.in_features, layer.in_features)
        for batch in context.batches:
            inputs_RI = torch.randn(batch.numel(), layer.in_features)
            moment_II.addmm_(inputs_RI.T, inputs_RI)
        torch.linalg.cholesky(moment_II + moment_II.diagonal().mean() * torch.eye(layer.in_features))


def selection(context: Any, *, draws: bool) -> None:
    """A score a weight, and the textbook top-N of every group."""
    import torch

    pattern = context.pattern
    for layer in context.model.frozen.layers:
        weight = context.model.frozen.module.get_parameter(f"{layer.name}.weight")
        scores_GM = (torch.rand_like(weight) if draws else weight.abs()).view(-1, pattern.m)
        kept_GN = scores_GM.topk(pattern.n, dim=1).indices
        torch.zeros_like(scores_GM, dtype=torch.bool).scatter_(1, kept_GN, True)


def _leaves(context: Any, *, prunable_only: bool) -> dict[str, Any]:
    prunable = {f"{layer.name}.weight" for layer in context.model.frozen.layers}
    named = dict(context.model.frozen.module.named_parameters())
    leaves = {n: p.detach().requires_grad_() for n, p in named.items() if n in prunable or not prunable_only}
    for leaf in leaves.values():
        leaf.register_post_accumulate_grad_hook(_drop)
    return leaves


def _drop(leaf: Any) -> None:
    leaf.grad = None


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of one call, with no garbage of the call before."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_of(work: Callable[[], object]) -> int:
    """Bytes by which resident memory at its highest during ``work`` exceeds what it was before."""
    from nmlab.trials.measure.memory import release_memory

    release_memory()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status_bytes("VmRSS")
    work()
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(name: str, model: str, size: Size, pattern: str, rounds: int) -> dict[str, Any]:
    """Time a method and its floor in turns, after a first turn that also gives the peaks."""
    import torch

    from nmlab.trials.models import FrozenModel, ModelSource

    torch.set_num_threads(1)
    frozen = FrozenModel.load(ModelSource(source=model))
    one_forward(setting_on(frozen, size=size, pattern=pattern))
    learned = name in LEARNED
    floor_peak = peak_of(floor_work(name, setting_on(frozen, size=size, pattern=pattern)))
    context = setting_on(frozen, size=size, pattern=pattern)
    own: list[Callable[[], object]] = []
    peak = peak_of(lambda: (own.append(method_work(name, context)), own[0]()))
    seconds, floor_seconds = [], []
    for _ in range(rounds):
        if not learned:  # what a replica keeps for the next trial must not help
            own[0] = method_work(name, setting_on(frozen, size=size, pattern=pattern))
        seconds.append(timed(own[0]))
        floor_seconds.append(timed(floor_work(name, setting_on(frozen, size=size, pattern=pattern))))
    return summary(name, seconds, floor_seconds) | {"peak_bytes": peak, "floor_peak_bytes": floor_peak}


def summary(name: str, seconds: list[float], floor_seconds: list[float]) -> dict[str, Any]:
    """Medians of a method and its floor, and whether their ratio is what is claimed."""
    ratio = statistics.median(seconds) / statistics.median(floor_seconds)
    claim = CLAIMS.get(name)
    return {
        "method": name,
        "timed": "a step" if name in LEARNED else "the method",
        "seconds": round(statistics.median(seconds), 3),
        "floor_seconds": round(statistics.median(floor_seconds), 3),
        "ratio": round(ratio, 3),
        "claim": claim,
        "holds": claim is None or ratio <= claim,
        "all_seconds": [round(value, 3) for value in seconds],
        "all_floor_seconds": [round(value, 3) for value in floor_seconds],
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| method | timed | seconds | floor s | ratio | aim | peak MB | floor peak MB |", "| --- " * 8 + "|"]
    for row in results:
        aim = "" if row["claim"] is None else f"{row['claim']:g}{'' if row['holds'] else ' missed'}"
        peaks = f"{row['peak_bytes'] / 1e6:.0f} | {row['floor_peak_bytes'] / 1e6:.0f}"
        seconds = f"{row['seconds']:.2f} | {row['floor_seconds']:.2f} | {row['ratio']:.2f}"
        lines.append(f"| {row['method']} | {row['timed']} | {seconds} | {aim} | {peaks} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join((*ONE_SHOT, *LEARNED)), help="a list with commas")
    parser.add_argument("--pattern", default="2:4")
    parser.add_argument("--width", type=int, default=512, help="512 with 8 blocks has 25.7 million prunable weights")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--samples", type=int, default=32, help="calibration sequences")
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32, help="sequences a minibatch, and a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = Size(options.width, options.blocks, options.samples, options.sequence_length, options.batch_size)
    names, results = options.methods.split(","), []
    if unknown := sorted(set(names) - {*ONE_SHOT, *LEARNED}):
        parser.error(f"--methods {', '.join(unknown)}: expected some of {', '.join((*ONE_SHOT, *LEARNED))}")
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), size=size)
        for name in names:
            # A pool of one worker that runs one task: a fresh process, whose errors come back.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                results.append(pool.apply(measure, (name, folder, size, options.pattern, options.rounds)))
            print(json.dumps(results[-1]), flush=True)
    print(table(results))
    record = {"size": vars(size), "pattern": options.pattern, "threads": 1, "methods": results}
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not all(row["holds"] for row in results))


if __name__ == "__main__":
    main()
