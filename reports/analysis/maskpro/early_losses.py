"""Losses of the masks sampled at the start of training, by the magnitude C of the initial logits.

The loss residual is the loss of a sampled mask minus that of the initial mask on the same minibatch. Small C makes
nearly every sample worse; where about half of the samples are better, learning has a usable signal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.read.histories import Curves
from nmlab.trials.contract.training_losses import loss_noun

SETTING, RATE = "logit_magnitude", "learning_rate"
FIRST_STEPS = 100
QUANTILES = (5, 25, 50, 75, 95)
FEWEST_POINTS = 5
MOST_DOTS = 60
MOST_BOXES, BINS = 10, 6


@dataclass(frozen=True, slots=True)
class LossBox:
    """The residuals at one magnitude, or between two: quantiles at 5, 25, 50, 75 and 95%, and the share below zero.

    ``dots`` are the residuals themselves where they are few enough to be drawn one by one.
    """

    magnitude: float
    quantiles: tuple[float, ...]
    share_better: float
    points: int
    upper: float | None = None
    dots: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The magnitude, or the range of magnitudes."""
        return value_text(self.magnitude) if self.upper is None else f"{self.magnitude:.2f} to {self.upper:.2f}"


@dataclass(frozen=True, slots=True)
class EarlyLosses:
    """One box for each magnitude, ascending, of the residuals of the first ``steps`` steps; or why there is none.

    ``rates`` are the learning rates of the runs behind them, None where none was recorded.
    """

    boxes: tuple[LossBox, ...]
    steps: int
    skipped: str = ""
    rates: tuple[float, float] | None = None
    noun: str = "loss"
    """What the losses are called, see `loss_noun`."""


def early_losses(configurations: Sequence[Configuration], *, curves: Curves) -> EarlyLosses:
    """Return the distribution of early residuals at each magnitude.

    At each magnitude only the runs with the smallest learning rate count, since their logits moved least;
    all other settings are pooled. More than ten magnitudes (from a random search) are put into six groups.

    Args:
        configurations: all of a launch; runs of every status count.
        curves: the residual of each run by step.
    """
    values = {run_id: curve.value_T[curve.step_T <= FIRST_STEPS] for run_id, curve in curves.items()}
    items = [item for item in searched(configurations) if isinstance(item.settings.get(SETTING), int | float)]
    at: dict[float, list[Configuration]] = {}
    for item in items:
        at.setdefault(_magnitude(item), []).append(item)
    boxes, rates = [], set()
    for group in _grouped(sorted(at)):
        own = [item for magnitude in group for item in _slowest(at[magnitude])]
        kept = [values[run_id] for item in own for run_id in item.run_ids if run_id in values]
        finite = np.concatenate([part[np.isfinite(part)] for part in kept]) if kept else np.empty(0)
        if len(finite) >= FEWEST_POINTS:
            rates |= {_rate(item) for item in own}
            boxes.append(_box(group, finite))
    if len(boxes) < 2:
        return EarlyLosses((), FIRST_STEPS, "fewer than two logit magnitudes have residuals of their first steps")
    known = [rate for rate in rates if math.isfinite(rate)]
    noun = loss_noun(item.settings for item in items)
    return EarlyLosses(tuple(boxes), FIRST_STEPS, rates=(min(known), max(known)) if known else None, noun=noun)


def _box(group: Sequence[float], values: npt.NDArray[np.float64]) -> LossBox:
    return LossBox(
        magnitude=group[0],
        quantiles=tuple(np.percentile(values, QUANTILES).tolist()),
        share_better=float((values < 0).mean()),
        points=len(values),
        upper=group[-1] if len(group) > 1 else None,
        dots=tuple(values.tolist()) if len(values) <= MOST_DOTS else (),
    )


def _grouped(magnitudes: Sequence[float]) -> list[list[float]]:
    """Return one group for each magnitude, or six groups of neighbours where there are many."""
    if len(magnitudes) <= MOST_BOXES:
        return [[magnitude] for magnitude in magnitudes]
    return [list(part) for part in np.array_split(np.array(magnitudes), BINS)]


def _slowest(items: Sequence[Configuration]) -> list[Configuration]:
    """Return the configurations with the smallest learning rate."""
    least = min(_rate(item) for item in items)
    return [item for item in items if _rate(item) == least]


def _magnitude(item: Configuration) -> float:
    return float(str(item.settings[SETTING]))


def _rate(item: Configuration) -> float:
    """Return a configuration's learning rate; infinite where it has none."""
    return float(str(item.settings.get(RATE, math.inf)))
