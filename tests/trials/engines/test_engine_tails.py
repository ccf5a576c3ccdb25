"""How often groups deviate at a lead of 14: the rate that an engine works with, to 1e-5, and what it then draws.

A rate of 1e-6 cannot be measured to a millionth by drawing. But an engine turns a uniform number into a deviation, so
it is given evenly spaced ones: the share of them that deviates is the probability, to one part in their number.
"""

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import MaskKey
from nmlab.trials.engines.event import streams
from nmlab.trials.engines.event.rates import UNIT

LEAD = 14.0
PATTERNS = ["1:4", "2:4", "2:8", "4:8", "8:16"]


def exact_probability(pattern, *, lead):
    """q of N equal leads, 1 - N! prod_j w / (S - j w), in fifty digits."""
    getcontext().prec = 50
    weight, n = Decimal(lead).exp(), pattern.n
    total = n * weight + (pattern.m - n)
    stays = Decimal(math.factorial(n))
    for drawn in range(n):
        stays *= weight / (total - drawn * weight)
    return float(1 - stays)


def equal_leads(pattern, groups, *, lead=LEAD):
    """Logits of groups whose first N items lead, [G, M]."""
    return (torch.arange(pattern.m) < pattern.n).expand(groups, -1) * lead


class EvenGenerator(np.random.Generator):
    """Gives uniforms evenly spaced from 0 to ``reach`` where it is asked for one a group."""

    def __init__(self, reach):
        super().__init__(np.random.Philox(0))
        self._reach, self._given = reach, 0

    def random(self, size=None, dtype=np.float64, out=None):
        if out is None:
            return super().random(size, dtype)
        out[:] = (np.arange(self._given, self._given + len(out)) + 0.5) * self._reach
        self._given += len(out)
        return out


@pytest.mark.parametrize("text", PATTERNS)
def test_the_linear_engine_deviates_where_its_uniform_is_below_the_exact_probability(
    monkeypatch, start_engine, layout_of, text
):
    pattern, groups = Pattern.parse(text), 200_000
    engine = start_engine("linear", layout_of(text, groups=groups), equal_leads(pattern, groups))
    probability = exact_probability(pattern, lead=LEAD)
    monkeypatch.setattr(engine, "_generators", lambda key: {"layer": EvenGenerator(2 * probability / groups)})
    assert len(engine.sample(MaskKey(0, 0)).groups_g) == pytest.approx(groups / 2, abs=1)


@pytest.mark.parametrize("text", PATTERNS)
def test_the_event_engine_accepts_as_many_points_as_the_exact_rate_says(monkeypatch, start_engine, layout_of, text):
    """A point in every group, each a unit deeper than the last: as many count as there are units of the true rate."""
    pattern, lead = Pattern.parse(text), 16.0 if text == "8:16" else LEAD  # where it deviates as often as 2:4
    rate = -math.log1p(-exact_probability(pattern, lead=lead)) / UNIT
    bound = int(
        start_engine("event", layout_of(text, groups=1), equal_leads(pattern, 1, lead=lead)).watch.rates.edges[-1]
    )
    assert 1.02 * rate < bound < 1.04 * rate
    engine = start_engine("event", layout_of(text, groups=bound), equal_leads(pattern, bound, lead=lead))
    assert engine.watch.rates.edges == [0, bound * bound]

    def poisson_points(self, edges, *, n):
        units_p = torch.arange(bound) * (bound + 1)
        return streams.PoissonPoints(units_p, torch.full((bound, n + 1), 0.5, dtype=torch.float64))

    monkeypatch.setattr(streams.Streams, "poisson_points", poisson_points)
    assert len(engine.sample(MaskKey(0, 0)).groups_g) == pytest.approx(rate, abs=1)
    assert rate > 5e4  # so that one unit is 2e-5 of it


def test_points_are_a_poisson_process():
    """As many as the sum of the bounds says, with the variance of the law, and anywhere with equal probability."""
    per_draw, draws = 40.0, 4000
    edges = [0, int(per_draw / 2 / UNIT), int(per_draw / UNIT)]
    drawn = [streams.Streams(MaskKey(0, step), ["a", "b"]).poisson_points(edges, n=2).units_p for step in range(draws)]
    counts = torch.tensor([len(units_p) for units_p in drawn]).double()
    expected, events = per_draw, per_draw * draws
    assert abs(counts.mean() - expected) < 4 * math.sqrt(expected / draws)
    assert abs(counts.var() - expected) < 5 * expected * math.sqrt(2 / draws)
    place = torch.cat(drawn).double() / edges[-1]
    tenths = torch.bincount((place * 10).long(), minlength=10)
    assert ((tenths - events / 10).abs() < 4.5 * math.sqrt(events / 10)).all()


# Groups, deviations to expect, and how far their number may be off: 2.2 standard deviations of 12e3 or
# three of 8e3 for the event engine, and three of 2e3 for the linear one, which draws a number for every group.
TAILS = {
    ("event", "2:4"): (1 << 22, 12_000, 0.02),
    ("event", "8:16"): (1 << 19, 8_000, 0.034),
    ("linear", "8:16"): (1 << 18, 2_000, 0.067),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), TAILS)
def test_the_rate_of_deviations_at_a_magnitude_of_14(start_engine, layout_of, name, text):
    groups, events, tolerance = TAILS[name, text]
    pattern = Pattern.parse(text)
    engine = start_engine(name, layout_of(text, groups=groups), equal_leads(pattern, groups))
    rate = exact_probability(pattern, lead=LEAD)
    draws = math.ceil(events / (rate * groups))
    seen = sum(len(engine.sample(MaskKey(8, step)).groups_g) for step in range(draws))
    assert seen / (draws * groups * rate) == pytest.approx(1.0, abs=tolerance)
