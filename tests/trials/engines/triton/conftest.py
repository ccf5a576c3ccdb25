"""Layers and engines for the checks of the Triton engine, and the masks that it must draw.

The checks run in a process of their own (`test_triton_checks.py` starts it): in Triton's interpreter on the CPU, or on
a GPU where there is one. pytest does not collect them by name.
"""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, MaskKey, initial_store
from nmlab.trials.engines.triton import TritonEngine
from nmlab.trials.engines.triton.availability import interpreting
from nmlab.trials.engines.triton.expected import expected_masks
from nmlab.trials.masks.randomness import key_bits
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import PrunableLayer

DEVICE = torch.device("cpu" if interpreting() else "cuda")


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
    def engine(
        layout: GroupLayout, logits_GM: torch.Tensor, *, kind="float32", magnitude=0.0, **options
    ) -> TritonEngine:
        """Start an engine. In the interpreter a program serves a whole layer, because each costs nearly the same.

        A store of differences begins at random masks times ``magnitude``.
        """
        largest = max(layout.groups_of_layers) if interpreting() else 1
        options = {"span": 1 << (-(-largest // 512) - 1).bit_length(), **options}
        initial_GM = topn(TritonLab.random_logits(layout.groups, layout.pattern.m, seed=9), layout.pattern)
        store = initial_store(layout, initial_GM.to(DEVICE), magnitude=magnitude, kind=kind)
        store.write(slice(None), logits_GM.float().to(DEVICE))
        return TritonEngine(layout, store=store, **options)

    @staticmethod
    def random_logits(groups: int, m: int, *, seed=0) -> torch.Tensor:
        """Groups from flat to certain: normal numbers, scaled by up to 12 from group to group."""
        draw = torch.Generator().manual_seed(seed)
        scale_G1 = 12 * torch.rand(groups, 1, generator=draw) ** 2
        return scale_G1 * torch.randn(groups, m, generator=draw)

    @staticmethod
    def expected(engine: TritonEngine, key: MaskKey) -> torch.Tensor:
        """The masks [G, M] of a key that NumPy draws in float64 from the logits as they are held."""
        m, split = engine.layout.pattern.m, engine.layout.split
        modes, drawn = split(engine.mode().cpu()), []
        for name, logits in split(engine.logits().cpu().double()).items():
            mode_GM, bits = modes[name].view(-1, m).numpy(), key_bits(key.seed, key.step, name, key.index)
            drawn.append(torch.from_numpy(expected_masks(logits.view(-1, m).numpy(), mode_GM, bits=bits)))
        return torch.cat(drawn)

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
