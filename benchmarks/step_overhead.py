"""What a whole step of MaskPro costs beside the forward pass in it.

A step samples a mask, puts it on the model, runs one forward and moves the logits; at best it costs its forward. The
forward alone is timed on the dense model, the two alternate, and the median of their ratios is taken. As a yardstick
the textbook step does the same with softmax, `torch.multinomial`, a product of every weight with its mask and the plain
gradient formula. The claim is about masked weights that are held and patched; `multiplied` shows the price of holding
the mask only.

    python benchmarks/step_overhead.py --millions 5 25 --dtype bfloat16 float32 --json step_overhead.json
    python benchmarks/step_overhead.py --masked-weights multiplied --no-textbook
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from random_llama import prunable_weights, random_llama
from torch import Tensor

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.engines import GroupLayout
from nmlab.trials.masks.plackett_luce import official_score
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.initial_masks import initial_mask
from nmlab.trials.models import FrozenModel, MaskedModel

CLAIM = 1.10


@dataclass(eq=False)
class GivenTokens(TrialContext):
    """A trial context with random minibatches: their content does not change what a step costs."""

    sequences: int = 32
    length: int = 128

    @property
    def batches(self) -> list[Tensor]:
        draw = torch.Generator().manual_seed(0)
        size = (2, self.sequences, self.length)
        return list(torch.randint(self.model.frozen.vocabulary_size, size, generator=draw))


class Textbook:
    """A step as the formulas stand, on a model view of its own."""

    def __init__(self, context: TrialContext, *, magnitude: float) -> None:
        self._model, self._batches = MaskedModel(context.model.frozen), context.batches
        self._layout = GroupLayout(self._model.frozen.layers, pattern=context.pattern)
        self._logits_GM = self._layout.join(initial_mask("magnitude", context)) * magnitude
        self._reference = 0.0

    def step(self, step: int) -> None:
        probability_GM = torch.softmax(self._logits_GM, dim=1).clamp_(min=1e-8)
        chosen_GN = torch.multinomial(probability_GM, 2, replacement=False)
        mask_GM = torch.zeros_like(self._logits_GM).scatter_(1, chosen_GN, 1.0).bool()
        self._model.apply_masks(self._layout.split(mask_GM))
        loss = self._model.loss(self._batches[step % len(self._batches)])
        self._reference = self._reference or loss
        self._logits_GM -= (loss - self._reference) * official_score(self._logits_GM, mask_GM)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(frozen: FrozenModel, options: argparse.Namespace) -> dict[str, float]:
    """Return median seconds of a forward, of nmlab's step and of the textbook step, and their ratios."""
    text = CalibrationSpec(source="given")
    context = GivenTokens(ReplicaContext(frozen), MaskedModel(frozen), Pattern(2, 4), text, seed=0)
    maskpro = registry.get("maskpro")
    chosen = {"engine": options.engine, "masked_weights": options.masked_weights}
    run = maskpro.start(context, maskpro.configure({"logit_magnitude": options.magnitude, **chosen}))
    dense = MaskedModel(frozen)
    textbook = Textbook(context, magnitude=options.magnitude) if options.textbook else None
    for step in range(2):  # the first step applies masks to the whole model
        run.step(step)
    times: Mapping[str, list[float]] = {"forward": [], "step": [], "textbook": []}
    for round_ in range(options.rounds):
        tokens = context.batches[round_ % 2]
        times["forward"].append(seconds(lambda tokens=tokens: dense.loss(tokens)))
        times["step"].append(seconds(lambda step=round_ + 2: run.step(step)))
        if textbook is not None and round_ < options.textbook_rounds:
            times["textbook"].append(seconds(lambda step=round_: textbook.step(step)))
    held = {"state_bytes": run.state_bytes, "masked_weight_bytes": context.model.bytes}
    phases = {name: total for name, total in context.cost.seconds.items() if name != "total"}
    return {**_summary(times, phases=phases, steps=options.rounds + 2), **held}


def _summary(times: Mapping[str, Sequence[float]], *, phases: Mapping[str, float], steps: int) -> dict[str, float]:
    medians = {name: statistics.median(values) for name, values in times.items() if values}
    # Step by step, so that a slow minute of the machine affects both.
    pairs = zip(times["step"], times["forward"], strict=True)
    ratios = {"step_over_forward": statistics.median(step / forward for step, forward in pairs)}
    if "textbook" in medians:
        ratios["textbook_over_forward"] = medians["textbook"] / medians["forward"]
    split = {f"{phase}_ms_per_step": 1e3 * total / steps for phase, total in phases.items()}
    return {**{f"{name}_s": value for name, value in medians.items()}, **ratios, **split}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, nargs="+", default=[5, 25])
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--magnitude", type=float, default=10.0)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--masked-weights", choices=["copied", "multiplied"], default="copied")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--textbook-rounds", type=int, default=3)
    parser.add_argument("--no-textbook", dest="textbook", action="store_false")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for millions in options.millions:
        for dtype in options.dtype:
            frozen = random_llama(millions, dtype=dtype)
            row = {"prunable_weights": prunable_weights(frozen), "dtype": dtype, **measure(frozen, options)}
            rows.append(row)
            print(json.dumps(row), flush=True)
    record = {
        "tokens": 4096,
        "threads": options.threads,
        "logit_magnitude": options.magnitude,
        "engine": options.engine,
        "masked_weights": options.masked_weights,
        "rows": rows,
        "claim": f"a step costs at most {CLAIM} of its forward pass",
        "holds": all(row["step_over_forward"] <= CLAIM for row in rows),
    }
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()
