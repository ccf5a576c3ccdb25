"""Masks of the Triton engine: the exact law, for every pattern and every logits, and the same for the same key."""

import pytest
import torch
from scipy.stats import chi2

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Draw
from nmlab.trials.engines.triton.kernels.random import SHARE

# Seeds are fixed, so a check passes or fails for good; over some forty of them, chance would fail one in 250 times.
LEAST_P = 1e-4
# Twenty thousand masks tell a common one's probability to 1 or 2 percent. The interpreter takes four times as long for
# groups of 16 or 32, which get a quarter; the law of the kernels is that of the patterns with fewer items.
GROUPS, WIDE_GROUPS = 20_000, 5_000

FAMILIES = {
    "flat": lambda m: torch.zeros(m),
    "ramp": lambda m: torch.linspace(2.0, -1.0, m),
    "one leads": lambda m: torch.tensor([4.0, *[0.0] * (m - 1)]),
    "two levels": lambda m: torch.tensor([1.5, 0.0]).repeat(m)[:m],
    "far apart": lambda m: torch.linspace(0.0, 3.0 * m, m),
}


def chi_square(counts: torch.Tensor, probability: torch.Tensor) -> float:
    """p-value of the counts; masks expected fewer than five times are one class."""
    expected = probability / probability.sum() * counts.sum()
    often = expected >= 5
    counts = torch.cat([counts[often], counts[~often].sum().view(1)])
    expected = torch.cat([expected[often], expected[~often].sum().view(1)])
    if float(expected[-1]) < 0.5:  # too rare to compare: their number is bounded instead
        assert counts[-1] <= 10
        counts, expected = counts[:-1], expected[:-1]
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return float(chi2.sf(statistic, len(counts) - 1)) if len(counts) > 1 else 1.0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pattern", ["1:4", "2:4", "3:4", "1:2", "2:8", "4:8", "3:5", "2:16", "31:32"])
def check_frequencies(lab, pattern, family):
    groups = GROUPS if Pattern.parse(pattern).m <= 8 else WIDE_GROUPS
    layout = lab.layout(pattern, groups)
    logits_M = FAMILIES[family](layout.pattern.m)
    engine = lab.engine(layout, logits_M.expand(groups, -1))
    masks_GM = engine.sample(lab.key()).over(engine.mode())
    assert chi_square(lab.counts(masks_GM, pattern), lab.probabilities(logits_M, pattern)) > LEAST_P


@pytest.mark.parametrize(
    ("pattern", "logits"),
    [
        ("2:4", [8.0, 8.0, 0.0, 0.0]),
        ("2:4", [8.0, 9.5, 0.5, -1.0]),
        ("2:4", [0.0, 7.0, 14.0, 0.0]),
        ("1:4", [0.0, 0.0, 8.0, 0.5]),
        ("4:8", [9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0]),
        ("3:5", [9.0, 0.0, 8.0, 1.0, 9.5]),
    ],
)
def check_rare_masks(lab, pattern, logits):
    """Where one group in a thousand deviates: how many do, within 4 of about 5 %, and to which masks."""
    groups, logits_M = 200_000, torch.tensor(logits)
    layout = lab.layout(pattern, groups)
    engine = lab.engine(layout, logits_M.expand(groups, -1))
    draws = [engine.sample(lab.key(step)) for step in range(2)]
    modal = (lab.masks(pattern) == engine.mode()[0].cpu()).all(1)
    probability = lab.probabilities(logits_M, pattern)[~modal]
    counts = sum(lab.counts(draw.masks_gM, pattern) for draw in draws)[~modal]
    expected = float(probability.sum()) * groups * len(draws)
    assert expected > 200
    assert abs(float(counts.sum()) - expected) < 4 * expected**0.5
    assert chi_square(counts, probability) > LEAST_P


@pytest.mark.parametrize("kind", ["float32", "bfloat16_delta"])
@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8", "3:5", "8:16"])
def check_that_the_first_look_hides_nothing(lab, pattern, kind):
    """Deciding on every group in float64 gives the masks that the screened pass gives."""
    layout = lab.layout(pattern, 6_000, 1_111)
    engine = lab.engine(layout, lab.random_logits(layout.groups, layout.pattern.m), kind=kind)
    draw = engine.sample(lab.key())
    everything = engine._draw(lab.key(), torch.arange(layout.groups, device=lab.device))
    assert lab.same(draw, everything)
    assert 0 < len(draw.groups_g) < layout.groups


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "3:5", "16:32"])
def check_that_differences_draw_what_their_logits_draw(lab, pattern):
    layout = lab.layout(pattern, 3_000)
    rounded = lab.engine(layout, lab.random_logits(3_000, layout.pattern.m), kind="bfloat16_delta")
    exact = lab.engine(layout, rounded.logits())
    assert lab.same(rounded.sample(lab.key()), exact.sample(lab.key()))
    assert torch.equal(rounded.mode(), exact.mode())


def check_that_masks_belong_to_their_key(lab):
    layout = lab.layout("2:4", 500)
    engine = lab.engine(layout, torch.zeros(500, 4))
    keys = [lab.key(step, index, seed) for step in (0, 5) for index in (0, 1) for seed in (0, 2**64 - 1)]
    draws = [engine.sample(key).over(engine.mode()) for key in keys]
    assert not any(torch.equal(one, other) for place, one in enumerate(draws) for other in draws[:place])
    assert torch.equal(engine.sample(keys[0]).over(engine.mode()), draws[0])
    # Independent masks agree on 2 of 4 entries by chance, and groups that share a block of words do too.
    assert all(abs(float((one == draws[0]).float().mean()) - 0.5) < 0.05 for one in draws[1:])
    near, far = draws[0][: -SHARE.value], draws[0][SHARE.value :]
    assert abs(float((near == far).float().mean()) - 0.5) < 0.05


@pytest.mark.parametrize("pattern", ["2:4", "3:5"])
def check_that_a_layer_does_not_know_its_shard(lab, pattern):
    """Whatever other layers there are, however programs are cut: a layer's masks are its own."""
    sizes, names = [300, 600, 33], ["blocks.0.q", "blocks.0.up", "blocks.1.q"]
    layout = lab.layout(pattern, *sizes, names=names)
    logits_GM = lab.random_logits(layout.groups, layout.pattern.m)
    whole = lab.engine(layout, logits_GM).sample(lab.key())
    assert lab.same(whole, lab.engine(layout, logits_GM, span=2).sample(lab.key()))
    start = 0
    for size, name in zip(sizes, names, strict=True):
        rows = slice(start, start + size)
        alone = lab.engine(lab.layout(pattern, size, names=[name]), logits_GM[rows]).sample(lab.key())
        mine = (whole.groups_g >= rows.start) & (whole.groups_g < rows.stop)
        assert lab.same(Draw(lab.key(), whole.groups_g[mine] - start, whole.masks_gM[mine]), alone)
        start += size


@pytest.mark.parametrize("pattern", ["4:4", "1:1"])
def check_that_nothing_deviates_where_all_is_kept(lab, pattern):
    layout = lab.layout(pattern, 100)
    engine = lab.engine(layout, lab.random_logits(100, layout.pattern.m))
    draw = engine.sample(lab.key())
    assert len(draw.groups_g) == 0
    assert engine.mode().all()
    before = engine.logits()
    assert len(engine.descend([draw], weights=[1.0], rate=1.0)) == 0
    assert torch.equal(engine.logits(), before)


def check_that_logits_stay_where_they_are(lab):
    layout = lab.layout("2:4", 5_000)
    logits_GM = lab.random_logits(5_000, 4)
    engine = lab.engine(layout, logits_GM)
    engine.sample(lab.key())
    assert torch.equal(engine.logits().cpu(), logits_GM)
