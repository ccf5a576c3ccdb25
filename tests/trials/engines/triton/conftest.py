"""Layers, engines and exact probabilities for the checks of the Triton engine.

The checks run in a process of their own (`test_triton_checks.py` starts it): in Triton's interpreter on the CPU, or on
a GPU where there is one. pytest does not collect them by name.
"""

import itertools

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, MaskKey, store_of
from nmlab.trials.engines.triton import TritonEngine
from nmlab.trials.engines.triton.availability import interpreting
from nmlab.trials.masks.plackett_luce import log_prob
from nmlab.trials.models import PrunableLayer

DEVICE = torch.device("cpu" if interpreting() else "cuda")
# Programs as large as the interpreter can take: there, each costs the same whatever its size.
SPAN = {2: 256, 4: 256, 8: 64, 16: 32, 32: 16} if interpreting() else dict.fromkeys((2, 4, 8, 16, 32), 1)


class TritonLab:
    """Layouts, logits and engines for the checks."""

    device = DEVICE

    @staticmethod
    def layout(pattern: str, *groups: int, names=None) -> GroupLayout:
        """A layout of one layer for each number of groups."""
        m = Pattern.parse(pattern).m
        names = names or [f"blocks.{place}.q" for place in range(len(groups))]
        layers = [PrunableLayer(name, 0, size, m) for name, size in zip(names, groups, strict=True)]
        return GroupLayout(layers, pattern=Pattern.parse(pattern))

    @staticmethod
    def engine(layout: GroupLayout, logits_GM: torch.Tensor, *, kind="float32", **options) -> TritonEngine:
        lanes = 1 << max(1, (layout.pattern.m - 1).bit_length())
        options = {"span": SPAN[lanes], **options}
        return TritonEngine(layout, store=store_of(layout, logits_GM.float().to(DEVICE), kind=kind), **options)

    @staticmethod
    def random_logits(groups: int, m: int, *, seed=0) -> torch.Tensor:
        """Groups from flat to certain: normal numbers, scaled by up to 12 from group to group."""
        draw = torch.Generator().manual_seed(seed)
        scale_G1 = 12 * torch.rand(groups, 1, generator=draw) ** 2
        return scale_G1 * torch.randn(groups, m, generator=draw)

    @staticmethod
    def masks(pattern: str) -> torch.Tensor:
        """All masks of a group, bool [masks, M]."""
        n, m = Pattern.parse(pattern).n, Pattern.parse(pattern).m
        kept = torch.tensor(list(itertools.combinations(range(m), n)))
        return torch.zeros(len(kept), m, dtype=torch.bool).scatter_(1, kept, True)

    @classmethod
    def probabilities(cls, logits_M: torch.Tensor, pattern: str) -> torch.Tensor:
        """The exact probability of every mask, float64."""
        masks = cls.masks(pattern)
        return log_prob(logits_M.double().expand(len(masks), -1), masks).exp()

    @classmethod
    def counts(cls, masks_GM: torch.Tensor, pattern: str) -> torch.Tensor:
        """How often each mask occurs, in the order of ``masks``; fails on any that is not N:M."""
        bits = 2 ** torch.arange(masks_GM.shape[1])
        known = {int(code): place for place, code in enumerate((cls.masks(pattern) * bits).sum(1))}
        counts = torch.zeros(len(known))
        for code, count in zip(*(masks_GM.cpu() * bits).sum(1).unique(return_counts=True), strict=True):
            counts[known[int(code)]] = count
        return counts

    @staticmethod
    def key(step=0, index=0, seed=1) -> MaskKey:
        return MaskKey(seed, step, index)

    @staticmethod
    def same(one, other) -> bool:
        """Whether two draws are the same mask."""
        return torch.equal(one.groups_g, other.groups_g) and torch.equal(one.masks_gM, other.masks_gM)


@pytest.fixture(scope="session")
def lab() -> type[TritonLab]:
    return TritonLab
