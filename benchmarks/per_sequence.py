"""What masks of single sequences cost: K masks, one for each sequence of a minibatch, in units of one plain forward.

A plain forward takes the whole minibatch under one mask. `separate` makes K forwards of one sequence, the mask patched
in between; `chosen` is what runs (`SequenceLosses`), `own` and `corrected` are the two ways it chooses from, layer by
layer. An engine draws the masks, from constant logits whose magnitude gives the asked share of groups that differ from
the mode, and from those of two settings: C = 10, and saliency logits of spread c = 6. Every round does all of it in
turn, and the medians of the ratios to the round's own plain forward are taken. Seconds are processor time of a thread.

    python benchmarks/per_sequence.py --json per_sequence.json
    python benchmarks/per_sequence.py --length 512 --dtype bfloat16 --rounds 5
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from random_llama import prunable_weights, random_llama
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Draw, Engine, GroupLayout, MaskKey, make_engine, store_of
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.engines.sequence_losses import SequenceLosses
from nmlab.trials.masks import deviation, topn
from nmlab.trials.measure.tensor_meter import TensorMeter
from nmlab.trials.models import FrozenModel, MaskedModel

SHARES = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 1e-2, 3e-2, 1e-1)
# Until a correction would take more memory than the inputs of a layer.
MOST_CORRECTED = 4e-3
CLAIMED_BELOW = 1e-3
AT_MOST, AT_RECOMMENDED, ROUNDING = 1.15, 1.5, 1e-5


def logits_of_share(share: float, mask_GM: Tensor, pattern: Pattern) -> Tensor:
    """Return constant logits under which a group differs from its mode with probability ``share``."""
    kept_1M = torch.arange(pattern.m)[None] < pattern.n
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        found = float(deviation.probability(kept_1M.double() * middle, kept_1M, n=pattern.n))
        low, high = (middle, high) if found > share else (low, middle)
    return mask_GM.float() * low


def saliency_logits(frozen: FrozenModel, layout: GroupLayout, *, spread: float) -> Tensor:
    """Return ``spread`` times the logarithm of each weight's size, less the mean of its group."""
    sizes = {layer.name: frozen.module.get_parameter(f"{layer.name}.weight").float().abs() for layer in frozen.layers}
    logits_GM = layout.join(sizes).clamp_(min=1e-12).log_().mul_(spread)
    return logits_GM - logits_GM.mean(1, keepdim=True)


def settings(frozen: FrozenModel, layout: GroupLayout) -> list[tuple[str, Callable[[], Tensor]]]:
    """Return a name and a maker of logits for each row of the record."""
    pattern = layout.pattern
    saliency_GM = saliency_logits(frozen, layout, spread=1.0)
    mask_GM = topn(saliency_GM, pattern)
    shares = [(f"share {share:g}", lambda share=share: logits_of_share(share, mask_GM, pattern)) for share in SHARES]
    recommended = [("C = 10", lambda: mask_GM.float() * 10), ("saliency, c = 6", lambda: saliency_GM * 6)]
    return [*shares, *recommended]


class Sides:
    """A plain forward, and the ways of computing each sequence's loss under its own mask."""

    def __init__(self, frozen: FrozenModel, engine: Engine, tokens_KT: Tensor, *, corrects: bool) -> None:
        self._tokens_KT, self._plain, self._separate = tokens_KT, MaskedModel(frozen), MaskedModel(frozen)
        self._plain.apply_masks(engine.layout.split(engine.mode()))
        self._patcher = MaskPatcher(self._separate, engine)
        ways = ("own", "corrected") if corrects else ("own",)
        self._by_way = {way: SequenceLosses(MaskedModel(frozen), engine, way=way) for way in ways}
        self._by_way["chosen"] = SequenceLosses(MaskedModel(frozen), engine)

    def plain(self) -> list[float]:
        losses: list[float] = self._plain.token_losses(self._tokens_KT).mean(1).tolist()
        return losses

    def losses(self, draws: Sequence[Draw]) -> dict[str, Callable[[], list[float]]]:
        """Return the ways by name, each of which returns the losses of all sequences."""

        def together(sequences: SequenceLosses) -> list[float]:
            loss = sequences.of(draws, self._tokens_KT)
            return [loss(index) for index in range(len(draws))]

        by_way = {way: lambda each=each: together(each) for way, each in self._by_way.items()}
        return {"separate": lambda: [self._alone(index, draw) for index, draw in enumerate(draws)], **by_way}

    def _alone(self, index: int, draw: Draw) -> float:
        self._patcher.apply(draw)
        return self._separate.loss(self._tokens_KT[index : index + 1])


def seconds(work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    start = time.thread_time()
    result = work()
    return time.thread_time() - start, result


def measure(
    frozen: FrozenModel, layout: GroupLayout, logits_GM: Tensor, options: argparse.Namespace
) -> dict[str, object]:
    """Return the share of deviating groups, median ratios to a plain forward, and how far losses lie apart."""
    engine = make_engine("linear", layout=layout, store=store_of(layout, logits_GM))
    tokens_KT = _tokens(frozen, options)
    draws_of = [[engine.sample(MaskKey(0, step, index)) for index in range(len(tokens_KT))] for step in range(2)]
    share = statistics.mean(len(draw.groups_g) for draws in draws_of for draw in draws) / layout.groups
    sides = Sides(frozen, engine, tokens_KT, corrects=share < 1.05 * MOST_CORRECTED)
    ratios: dict[str, list[float]] = {}
    plain: list[float] = []
    apart = 0.0
    for round_ in range(options.rounds + 1):  # the first one warms up
        base, _ = seconds(sides.plain)
        found = {way: seconds(work) for way, work in sides.losses(draws_of[round_ % 2]).items()}
        expected = found["separate"][1]
        apart = max(apart, *(_apart(losses, expected) for _, losses in found.values()))
        if round_:
            plain.append(base)
            for way, (taken, _) in found.items():
                ratios.setdefault(way, []).append(taken / base)
    scratch = _peak(sides.losses(draws_of[0])["chosen"]) - _peak(sides.plain)
    return {
        "share": share,
        "plain_s": statistics.median(plain),
        "forwards": {way: statistics.median(each) for way, each in ratios.items()},
        "spread": {way: [min(each), max(each)] for way, each in ratios.items()},
        "relative_difference": apart,
        "bytes_beyond_plain": scratch,
        "draw_bytes": sum(draw.groups_g.nbytes + draw.masks_gM.nbytes for draw in draws_of[0]),
    }


def _tokens(frozen: FrozenModel, options: argparse.Namespace) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(frozen.vocabulary_size, (options.sequences, options.length), generator=draw)


def _apart(losses: Sequence[float], expected: Sequence[float]) -> float:
    return max(abs(one - other) / other for one, other in zip(losses, expected, strict=True))


def _peak(work: Callable[[], object]) -> int:
    with TensorMeter() as meter:
        work()
    return meter.peak


def holds(rows: Sequence[dict[str, object]], *, dtype: str) -> bool:
    """Return whether every row keeps what is claimed of it."""
    kept = []
    for row in rows:
        forwards, share = row["forwards"], row["share"]
        assert isinstance(forwards, dict)
        assert isinstance(share, float)
        difference = row["relative_difference"]
        assert isinstance(difference, float)
        limit = AT_RECOMMENDED if row["setting"] in ("C = 10", "saliency, c = 6") else math.inf
        limit = AT_MOST if share <= 1.05 * CLAIMED_BELOW else limit
        kept.append(forwards["chosen"] <= limit)
        kept.append(dtype != "float32" or difference <= ROUNDING)
    return all(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=25)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--pattern", default="2:4")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", help="settings to measure, such as 'share 0.001' 'C = 10'; all by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    frozen = random_llama(options.millions, dtype=options.dtype)
    layout = GroupLayout(frozen.layers, pattern=Pattern.parse(options.pattern))
    rows: list[dict[str, object]] = []
    for name, make in settings(frozen, layout):
        if not options.only or name in options.only:
            rows.append({"setting": name, **measure(frozen, layout, make(), options)})
            print(json.dumps(rows[-1]), flush=True)
    assert frozen.unchanged()
    record = {
        "prunable_weights": prunable_weights(frozen),
        **{name: getattr(options, name) for name in ("dtype", "sequences", "length", "pattern", "rounds")},
        "rows": rows,
        "claim": f"at most {AT_MOST} forwards at a share of at most {CLAIMED_BELOW:g}, at most {AT_RECOMMENDED} at the "
        f"settings named; in float32 losses equal those of separate forwards to {ROUNDING:g} relative",
        "holds": holds(rows, dtype=options.dtype),
    }
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()
