"""What one step of sampling and updating masks costs, engine by engine, over the textbook formulation.

The textbook samples with softmax, a clamp at 1e-8, `torch.multinomial` without replacement and a scatter. Its update is
the plain gradient of log p with the clamped probabilities: in closed form for N = 1 and 2, and for larger N autograd
through the recursion over the 2^N subsets of the kept set, timed on a part of the groups and scaled up.

All formulations run in turns in one process on one thread, every round in another order; times are CPU time of that
thread, and medians over rounds are compared. A number above 1 says how many times cheaper than the textbook it is.

    python benchmarks/sampling.py --quick
    python benchmarks/sampling.py --json sampling.json
    python benchmarks/sampling.py --drift --json drift.json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Engine, GroupLayout, LinearEngine, LogitStore, MaskKey, initial_store, store_of
from nmlab.trials.masks import deviation, topn
from nmlab.trials.masks.plackett_luce import reference
from nmlab.trials.models import PrunableLayer

PATTERNS = ["1:4", "2:4", "2:8", "4:8", "8:16"]
MAGNITUDES = [4.0, 6.0, 8.0, 10.0, 12.0]
SHAPES = ["4096x4096", "11008x4096"]
CHOSEN = "adaptive"
# Standard deviation of eta times residual: of the comparison with the textbook, and of the drift.
STEP_SIZE, DRIFT_SIZE = 0.05, 0.5
# Groups on which the textbook update by autograd is timed, and how long an engine is timed in a round at least.
_AUTOGRAD_GROUPS, _ROUND_SECONDS = 2**14, 0.05
# Steps before any is timed, in which engines that choose learn how far a step goes.
_FIRST_STEPS = 4


def _event(layout: GroupLayout, store: LogitStore) -> Engine:
    from nmlab.trials.engines.event import EventEngine

    return EventEngine(layout, store=store)


def _adaptive(layout: GroupLayout, store: LogitStore) -> Engine:
    from nmlab.trials.engines.adaptive import AdaptiveEngine

    return AdaptiveEngine(layout, store=store)


# An engine to compare is one line.
ENGINES: dict[str, Callable[[GroupLayout, LogitStore], Engine]] = {
    "linear": lambda layout, store: LinearEngine(layout, store=store),
    "event": _event,
    "adaptive": _adaptive,
}


class Textbook:
    """The formulas as they stand in float32, on logits of its own."""

    def __init__(self, initial_GM: Tensor, *, magnitude: float, n: int) -> None:
        self._logits_GM, self._n = initial_GM * magnitude, n
        self._mask_GM = initial_GM.float()
        self._random = torch.Generator().manual_seed(0)

    def sample(self) -> None:
        probability_GM = torch.softmax(self._logits_GM, dim=1).clamp_(min=1e-8)
        chosen_GN = torch.multinomial(probability_GM, self._n, replacement=False, generator=self._random)
        self._mask_GM = torch.zeros_like(probability_GM).scatter_(1, chosen_GN, 1.0)

    def update(self, weight: float) -> None:
        if self._n <= 2:
            self._logits_GM -= weight * self._closed_gradient()
        else:
            self._logits_GM[:_AUTOGRAD_GROUPS] -= weight * self._autograd_gradient()

    @property
    def update_scale(self) -> float:
        """Groups over the groups that ``update`` moves."""
        return 1.0 if self._n <= 2 else max(1.0, len(self._logits_GM) / _AUTOGRAD_GROUPS)

    def _closed_gradient(self) -> Tensor:
        probability_GM = torch.softmax(self._logits_GM, dim=1).clamp_(min=1e-8)
        if self._n == 1:
            return self._mask_GM - probability_GM
        # log p = log p_i + log p_j + log(1/q_i + 1/q_j), q = 1 - p, carried through the softmax.
        other_GM = 1.0 - probability_GM + 1e-8
        ratio_G1 = (self._mask_GM / other_GM).sum(1, keepdim=True).reciprocal()
        slope_GM = self._mask_GM / probability_GM + ratio_G1 * self._mask_GM / other_GM.square()
        return probability_GM * (slope_GM - (probability_GM * slope_GM).sum(1, keepdim=True))

    def _autograd_gradient(self) -> Tensor:
        leaf_GM = self._logits_GM[:_AUTOGRAD_GROUPS].clone().requires_grad_()
        reference.log_prob(leaf_GM, self._mask_GM[:_AUTOGRAD_GROUPS].bool()).sum().backward()
        assert leaf_GM.grad is not None
        return leaf_GM.grad


class Stepper:
    """An engine that takes steps with residuals that are noise, and the CPU seconds of its two halves."""

    def __init__(self, engine: Engine, *, size: float, seed: int = 0) -> None:
        self.engine, self._size = engine, size
        self._noise, self._seed, self._step = np.random.default_rng(seed), seed, 0
        self.deviating = 0.0

    def step(self) -> tuple[float, float]:
        start = time.thread_time()
        draw = self.engine.sample(MaskKey(self._seed, self._step))
        middle = time.thread_time()
        self.engine.descend([draw], weights=[self._noise.normal(0.0, self._size)], rate=1.0)
        self._step += 1
        self.deviating = len(draw.groups_g) / self.engine.layout.groups
        return middle - start, time.thread_time() - middle

    def round(self, *, steps: int | None = None) -> tuple[float, float]:
        """Seconds a step to sample and to update: the mean of ``steps``, or of as many as a round takes."""
        samples, updates = [], []
        while (len(samples) < steps) if steps else (sum(samples) + sum(updates) < _ROUND_SECONDS):
            sampled, updated = self.step()
            samples.append(sampled)
            updates.append(updated)
        return statistics.fmean(samples), statistics.fmean(updates)


def textbook_round(textbook: Textbook) -> tuple[float, float]:
    start = time.thread_time()
    textbook.sample()
    middle = time.thread_time()
    textbook.update(0.01)
    return middle - start, (time.thread_time() - middle) * textbook.update_scale


def layout_of(shape: str, pattern: Pattern) -> GroupLayout:
    rows, columns = map(int, shape.split("x"))
    return GroupLayout([PrunableLayer("matrix", 0, rows, columns)], pattern=pattern)


def random_mask(layout: GroupLayout) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return topn(torch.rand(layout.groups, layout.pattern.m, generator=draw), layout.pattern)


def usable(names: Sequence[str], pattern: Pattern) -> list[str]:
    return [name for name in names if name == "linear" or pattern.n <= deviation.LARGEST_N]


def compare(
    shape: str, pattern: Pattern, magnitude: float, *, engines: Sequence[str], rounds: int
) -> dict[str, object]:
    """Time the textbook and the engines in turns; one row of the table."""
    layout = layout_of(shape, pattern)
    initial_GM = random_mask(layout)
    turns: dict[str, Callable[[], tuple[float, float]]] = {}
    textbook = Textbook(initial_GM, magnitude=magnitude, n=pattern.n)
    turns["textbook"] = lambda: textbook_round(textbook)
    steppers = {}
    for name in engines:
        store = initial_store(layout, initial_GM, magnitude=magnitude)
        steppers[name] = Stepper(ENGINES[name](layout, store), size=STEP_SIZE)
        for _ in range(_FIRST_STEPS):
            steppers[name].step()
        turns[name] = steppers[name].round
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for round_ in range(rounds):
        names = list(turns)
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            times[name].append(turns[name]())
    numel = layout.groups * pattern.m
    row: dict[str, object] = {"shape": shape, "pattern": str(pattern), "magnitude": magnitude}
    row["deviating"] = steppers[engines[0]].deviating
    for name, seconds in times.items():
        parts = {
            "sample": [s for s, _ in seconds],
            "update": [u for _, u in seconds],
            "step": [s + u for s, u in seconds],
        }
        row |= {f"{name}_{part}_ns_per_weight": 1e9 * statistics.median(ts) / numel for part, ts in parts.items()}
    for name in engines:
        row |= {
            f"{name}_{part}_ratio": row[f"textbook_{part}_ns_per_weight"] / row[f"{name}_{part}_ns_per_weight"]
            for part in ("sample", "update", "step")
        }
    return row


def drift(
    shape: str, pattern: Pattern, magnitude: float, *, engines: Sequence[str], steps: int
) -> list[dict[str, object]]:
    """Let the engines that remember their past walk on the same noise; time all of them at five points of the way.

    The linear engine has no past and starts at each point from the logits that the chosen one has reached.
    """
    layout = layout_of(shape, pattern)
    initial_GM = random_mask(layout)
    walkers = {
        name: Stepper(ENGINES[name](layout, initial_store(layout, initial_GM, magnitude=magnitude)), size=DRIFT_SIZE)
        for name in engines
        if name != "linear"
    }
    walker = walkers[CHOSEN]
    start_GM = walker.engine.logits()
    rows: list[dict[str, object]] = []
    for point in range(6):
        for _ in range(steps // 5 if point else 0):
            for each in walkers.values():
                each.step()
        logits_GM = walker.engine.logits()
        linear = Stepper(LinearEngine(layout, store=store_of(layout, logits_GM)), size=DRIFT_SIZE)
        linear.round(steps=2)
        everyone = {"linear": linear, **walkers}
        times: dict[str, list[float]] = {name: [] for name in everyone}
        for round_ in range(60):
            # Cheap engines take turns to be first; the dear one, which needs fewer rounds, is timed in every sixth.
            turns = list(walkers.items())[:: 1 if round_ % 2 else -1]
            for name, stepper in [*turns, *([] if round_ % 6 else [("linear", linear)])]:
                times[name].append(sum(stepper.round(steps=4)))
        row: dict[str, object] = {"step": point * (steps // 5), "deviating": walker.deviating}
        row["logit_moved_max"] = float((logits_GM - start_GM).abs().max())
        row["mode_changed"] = float((topn(logits_GM, pattern) != topn(start_GM, pattern)).any(1).float().mean())
        medians = {name: statistics.median(values) for name, values in times.items()}
        row |= {f"{name}_ms": 1e3 * seconds for name, seconds in medians.items()}
        row["chosen_over_better"] = medians[CHOSEN] / min(medians[name] for name in everyone if name != CHOSEN)
        row["linear_over_chosen"] = medians["linear"] / medians[CHOSEN]
        rows.append(row)
        print("  ".join(f"{key} {_short(value)}" for key, value in row.items()), flush=True)
    return rows


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def grid(options: argparse.Namespace) -> list[dict[str, object]]:
    rows = []
    shown = ["linear_sample", "linear_update", *(f"{name}_step" for name in options.engines)]
    print(
        f"{'shape':12}{'N:M':6}{'C':>5}{'deviating':>11}{'textbook ns/w':>15}",
        *(f"{name:>15}" for name in shown),
        sep="",
    )
    for shape in options.shape:
        for pattern in map(Pattern.parse, options.pattern):
            for magnitude in options.magnitude:
                engines = usable(options.engines, pattern)
                row = compare(shape, pattern, magnitude, engines=engines, rounds=options.rounds)
                rows.append(row)
                ratios = (f"{row[f'{name}_ratio']:>15.1f}" for name in shown if f"{name}_ratio" in row)
                print(
                    f"{shape:12}{pattern!s:6}{magnitude:5.0f}{row['deviating']:11.2e}"
                    f"{row['textbook_step_ns_per_weight']:15.1f}",
                    *ratios,
                    sep="",
                    flush=True,
                )
    return rows


def claims_of_grid(rows: Sequence[dict[str, object]]) -> dict[str, bool]:
    """What issue and docs promise, as far as the rows cover it."""

    def ratios(name: str, **where: object) -> list[float]:
        chosen = [row for row in rows if all(row[key] == value for key, value in where.items())]
        return [float(row[f"{name}_step_ratio"]) for row in chosen if f"{name}_step_ratio" in row]  # type: ignore[arg-type]

    everywhere = [ratio for name in ENGINES for ratio in ratios(name) if name != "event"]
    claims = {"never slower than the textbook": min(everywhere) >= 1}
    if linear := ratios("linear", pattern="2:4", magnitude=10.0):
        claims["2:4, C = 10: linear at least 2.5 times cheaper"] = min(linear) >= 2.5
    if event := ratios("event", pattern="2:4", magnitude=10.0):
        claims["2:4, C = 10: event at least 1000 times cheaper"] = min(event) >= 1000
    return claims


def claims_of_drift(rows: Sequence[dict[str, object]]) -> dict[str, bool]:
    over_linear = float(rows[-1]["linear_over_chosen"])  # type: ignore[arg-type]
    return {
        "after the drift the chosen engine is 3 times cheaper than linear, or equal to it": over_linear >= 3
        or 1 / 1.1 <= over_linear <= 1.1,
        "never slower than 1.1 of the better of the two": all(
            float(row["chosen_over_better"]) <= 1.1  # type: ignore[arg-type]
            for row in rows
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", default=SHAPES, metavar="ROWSxCOLUMNS")
    parser.add_argument("--pattern", nargs="+", default=PATTERNS)
    parser.add_argument("--magnitude", nargs="+", type=float, default=MAGNITUDES)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="1024x4096, 2:4 and 4:8, C of 4 and 10, three rounds")
    parser.add_argument("--drift", action="store_true", help="time the engines along a walk on noise residuals")
    parser.add_argument("--steps", type=int, default=10_000, help="of the walk")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.shape, options.rounds = ["1024x4096"], 3
        options.pattern, options.magnitude = ["2:4", "4:8"], [4.0, 10.0]
    if options.drift:
        shape, pattern = options.shape[0], Pattern.parse("2:4" if "2:4" in options.pattern else options.pattern[0])
        magnitude = 10.0 if 10.0 in options.magnitude else options.magnitude[0]
        rows = drift(shape, pattern, magnitude, engines=options.engines, steps=options.steps)
        what = {"shape": shape, "pattern": str(pattern), "magnitude": magnitude, "step_size": DRIFT_SIZE}
        record = {**what, "rows": rows, "claims": claims_of_drift(rows)}
    else:
        rows = grid(options)
        record = {"rounds": options.rounds, "step_size": STEP_SIZE, "rows": rows, "claims": claims_of_grid(rows)}
    print(json.dumps(record["claims"], indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not all(record["claims"].values()))


if __name__ == "__main__":
    main()
