"""A search space for a larger model: the predictions of the laws with their uncertainty."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml
from scipy import stats

from nmlab.reports.analysis.published import numbers_of
from nmlab.reports.scaling.evidence import COORDINATES, BestPlace
from nmlab.reports.scaling.flips import deviation_probability, magnitude_of
from nmlab.reports.scaling.law import Law, Prior, fit_law

INTERVAL, SEARCHED = (0.025, 0.5, 0.975), (0.1, 0.5, 0.9)  # quantiles: of intervals, of the space
SAMPLES = 24
POINTS = (0.5, 0.2, 0.8)  # quantiles of the flips at which a search starts
Shares = tuple[float, float, float]
PRIORS: Mapping[str, Prior] = {
    "flips": Prior(0.5, 0.3, "between the same flips per step at any size (0) and the same share of all groups (1)"),
    "movement": Prior(0.0, 0.1, "logits must move equally far at any size (0)"),
    "steps": Prior(0.15, 0.1, "between the same steps at any size (0) and many more: a group's sign emerges slowly"),
}


@dataclass(frozen=True, slots=True)
class LargerModel:
    """The model that is proposed for: its number of groups of N:M."""

    groups: int
    n: int
    m: int

    def magnitude_of(self, flips: float) -> float:
        """Return the logit magnitude at which this number of groups is expected to change in a step."""
        return magnitude_of(flips, groups=self.groups, n=self.n, m=self.m)


PUBLISHED = LargerModel(1_619_001_344, 2, 4)  # LLaMA-2-7B: 32 blocks of width 4096 and 11008


@dataclass(frozen=True, slots=True)
class Range:
    """A setting's proposal with its 95% prediction interval."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class SpaceProposal:
    """The proposed search on a model with a given number of groups, and its basis.

    Attributes:
        extrapolation: target groups divided by those of the largest model tried.
        flips: expected flips per step at the proposal.
        limits: logit magnitudes under the two theories of the flips, constant number and constant share.
        published: the predictions for the papers' 7B models, where the pattern is theirs.
        searched: the central 80% of logit magnitude and learning rate, which is the space.
        points: settings to try first.
    """

    groups: int
    n: int
    m: int
    extrapolation: float
    laws: Mapping[str, Law]
    logit_magnitude: Range
    learning_rate: Range
    steps: Range
    flips: Range
    limits: tuple[float, float]
    searched: tuple[Range, Range]
    points: tuple[Mapping[str, float], ...]
    published: "Published | None"


@dataclass(frozen=True, slots=True)
class Published:
    """The published settings of 7B models, and the predictions of the laws for them."""

    logit_magnitude: Range
    learning_rate: Range
    printed_magnitudes: tuple[float, ...]
    printed_rates: tuple[float, ...]

    @property
    def is_inside(self) -> bool:
        """Whether every printed value lies in its interval."""
        return _holds(self.logit_magnitude, self.printed_magnitudes) and _holds(self.learning_rate, self.printed_rates)


def propose(places: Sequence[BestPlace], *, groups: int, n: int, m: int) -> SpaceProposal:
    """Return the proposed search on a model with ``groups`` groups of N:M.

    Raises:
        ValueError: no evidence.
    """
    target, sizes = LargerModel(groups, n, m), [place.size.groups for place in places]
    laws = {
        name: fit_law(
            sizes,
            means=[place.mean[name] for place in places],
            variances=[place.variance[name] for place in places],
            prior=PRIORS[name],
        )
        for name in COORDINATES
    }
    magnitude, rate, steps, flips = _ranges(laws, target, shares=INTERVAL)
    largest = max(places, key=lambda place: place.size.groups)
    kept = math.exp(laws["flips"].predicted(largest.size.groups)[0])
    ends = (kept, kept * groups / largest.size.groups)
    return SpaceProposal(
        groups=groups,
        n=n,
        m=m,
        extrapolation=groups / max(sizes),
        laws=laws,
        logit_magnitude=magnitude,
        learning_rate=rate,
        steps=steps,
        flips=flips,
        limits=(
            target.magnitude_of(ends[0]),
            target.magnitude_of(ends[1]),
        ),
        searched=_ranges(laws, target, shares=SEARCHED)[:2],
        points=_points(laws, target),
        published=_published(laws) if (n, m) == (2, 4) else None,
    )


def space_yaml(proposal: SpaceProposal) -> str:
    """Return the proposal as part of a study in YAML, ready to paste."""
    magnitude, rate = proposal.searched
    body = {
        "fixed": {"steps": _rounded_steps(proposal.steps.middle)},
        "space": {
            "logit_magnitude": {"uniform": [round(magnitude.low, 2), round(magnitude.high, 2)]},
            "learning_rate": {"loguniform": [_short(rate.low), _short(rate.high)]},
        },
        "search": {
            "algorithm": "tpe",
            "samples": SAMPLES,
            "initial_points": [dict(point) for point in proposal.points],
        },
    }
    return yaml.safe_dump(body, sort_keys=False, default_flow_style=None, width=100)


def _ranges(laws: Mapping[str, Law], target: LargerModel, *, shares: Shares) -> tuple[Range, Range, Range, Range]:
    """Return magnitude, learning rate, steps and flips: normal on the log scale, C falling as the flips rise.

    The rate follows from log rate = movement - log p - steps, where log p = flips - log G; the three errors add up.
    """
    flips, movement, steps = (laws[name].predicted(target.groups) for name in COORDINATES)
    rate = (
        movement[0] - (flips[0] - math.log(target.groups)) - steps[0],
        math.hypot(flips[1], movement[1], steps[1]),
    )
    drawn = _range(flips, shares)
    low, middle, high = (target.magnitude_of(value) for value in (drawn.high, drawn.middle, drawn.low))
    return Range(low, middle, high), _range(rate, shares), _range(steps, shares), drawn


def _points(laws: Mapping[str, Law], target: LargerModel) -> tuple[Mapping[str, float], ...]:
    """Return settings along the ridge: each logit magnitude with its matching learning rate."""
    mean, error = laws["flips"].predicted(target.groups)
    steps = math.log(_rounded_steps(math.exp(laws["steps"].predicted(target.groups)[0])))
    movement = laws["movement"].predicted(target.groups)[0]
    found = []
    for quantile in POINTS:
        flips = math.exp(mean + error * float(stats.norm.ppf(quantile)))
        magnitude = round(target.magnitude_of(flips), 2)
        rate = math.exp(movement - math.log(deviation_probability(magnitude, n=target.n, m=target.m)) - steps)
        found.append({"logit_magnitude": magnitude, "learning_rate": _short(rate)})
    return tuple(found)


def _published(laws: Mapping[str, Law]) -> Published:
    magnitude, rate, _, _ = _ranges(laws, PUBLISHED, shares=INTERVAL)
    numbers = numbers_of("maskpro/table-2")
    own = {
        name: tuple(sorted({number.value for number in numbers if number.metric == name}))
        for name in ("logit_magnitude", "learning_rate")
    }
    return Published(magnitude, rate, own["logit_magnitude"], own["learning_rate"])


def _range(log: tuple[float, float], shares: Shares) -> Range:
    """Return the quantiles of a log-normal value, given mean and standard deviation of its logarithm."""
    low, middle, high = (math.exp(log[0] + log[1] * float(stats.norm.ppf(share))) for share in shares)
    return Range(low, middle, high)


def _holds(interval: Range, values: Sequence[float]) -> bool:
    return all(interval.low <= value <= interval.high for value in values)


def _rounded_steps(value: float) -> int:
    """Round to two digits: a number of steps is a choice."""
    return int(float(f"{max(1.0, value):.2g}"))


def _short(value: float) -> float:
    return float(f"{value:.3g}")
