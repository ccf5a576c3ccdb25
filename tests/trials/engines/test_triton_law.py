"""The law of the masks that Triton's kernels must draw: those that NumPy computes from the same random numbers.

The kernels are compared with NumPy mask by mask where they run (`triton/masks.py`), so what is counted here is their
law as well, for a hundredth of what Triton's interpreter takes.
"""

import itertools

import pytest
import torch
from group_logits import FAMILIES, RARE
from scipy.stats import chi2

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.plackett_luce import log_prob
from nmlab.trials.masks.randomness import key_bits
from nmlab.trials.masks.topn import topn

pytest.importorskip("triton", reason="the package triton exists for Linux only")

PATTERNS = ["1:4", "2:4", "3:4", "1:2", "2:8", "4:8", "3:5", "2:16", "31:32"]
# Seeds are fixed, so a check passes or fails for good; over some fifty of them, chance would fail one in 200 times.
LEAST_P = 1e-4
# Twenty thousand masks tell a common one's probability to 1 or 2 percent. Groups of 16 or 32 take four times as long
# and get a quarter; the law is that of the patterns with fewer items.
GROUPS, WIDE_GROUPS = 20_000, 5_000


def all_masks(pattern: Pattern) -> torch.Tensor:
    """Return all masks of a group, bool [masks, M]."""
    kept = torch.tensor(list(itertools.combinations(range(pattern.m), pattern.n)))
    return torch.zeros(len(kept), pattern.m, dtype=torch.bool).scatter_(1, kept, True)


def drawn(logits_M: torch.Tensor, pattern: Pattern, *, groups: int, step: int = 0) -> torch.Tensor:
    """Return how often each of ``all_masks`` is drawn, [masks]; fails on anything that is not N:M."""
    from nmlab.trials.engines.triton.expected import expected_masks

    mode_GM = topn(logits_M.unsqueeze(0), pattern).expand(groups, -1)
    logits_GM = logits_M.double().expand(groups, -1)
    masks_GM = expected_masks(logits_GM.numpy(), mode_GM.numpy(), bits=key_bits(1, step, "blocks.0.q", 0))
    bits_M = 2 ** torch.arange(pattern.m)
    place = {int(code): index for index, code in enumerate((all_masks(pattern) * bits_M).sum(1))}
    counts = torch.zeros(len(place))
    for code, count in zip(*(torch.from_numpy(masks_GM) * bits_M).sum(1).unique(return_counts=True), strict=True):
        counts[place[int(code)]] = count
    return counts


def probabilities(logits_M: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Return the exact probability of each of ``all_masks``, float64."""
    masks = all_masks(pattern)
    return log_prob(logits_M.double().expand(len(masks), -1), masks).exp()


def chi_square(counts: torch.Tensor, probability: torch.Tensor) -> float:
    """Return the p-value of the counts; masks expected fewer than five times are one class."""
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
@pytest.mark.parametrize("text", PATTERNS)
def test_masks_are_as_frequent_as_they_are_probable(text, family):
    pattern = Pattern.parse(text)
    logits_M = FAMILIES[family](pattern.m)
    counts = drawn(logits_M, pattern, groups=GROUPS if pattern.m <= 8 else WIDE_GROUPS)
    assert chi_square(counts, probabilities(logits_M, pattern)) > LEAST_P


@pytest.mark.parametrize(("text", "logits"), [(text, logits) for text in RARE for logits in RARE[text]])
def test_rare_masks_are_as_frequent_as_they_are_probable(text, logits):
    """Where one group in a thousand deviates: how many do, within 4 of about 5 %, and to which masks."""
    pattern, logits_M, groups = Pattern.parse(text), torch.tensor(logits), 200_000
    is_other = (all_masks(pattern) != topn(logits_M.unsqueeze(0), pattern)).any(1)
    probability = probabilities(logits_M, pattern)[is_other]
    counts = sum(drawn(logits_M, pattern, groups=groups, step=step) for step in range(2))[is_other]
    expected = float(probability.sum()) * groups * 2
    assert expected > 200
    assert abs(float(counts.sum()) - expected) < 4 * expected**0.5
    assert chi_square(counts, probability) > LEAST_P
