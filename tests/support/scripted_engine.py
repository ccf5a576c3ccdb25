"""An engine without logits, for tests of what is done with its draws."""

import torch

from nmlab.trials.engines.engine import Draw, Engine


class ScriptedEngine(Engine):
    """Makes draws in which a given share of groups has another mask, N:M at random as its modes are."""

    name = "scripted"

    def __init__(self, layout, *, share):
        self.layout, self.share = layout, share
        self._draw = torch.Generator().manual_seed(0)
        self._mode_GM = self._random(layout.groups)

    def sample(self, key):
        chosen_G = torch.rand(self.layout.groups, generator=self._draw) < self.share
        groups_g = chosen_G.nonzero().flatten()
        return Draw(key, groups_g, self._random(len(groups_g)))

    def descend(self, draws, *, weights, rate):
        groups_g = torch.randperm(self.layout.groups, generator=self._draw)[:3].sort().values
        self._mode_GM[groups_g] = self._random(3)
        return groups_g

    def mode(self, groups_g=None):
        return self._mode_GM if groups_g is None else self._mode_GM[groups_g]

    def _random(self, groups):
        pattern = self.layout.pattern
        return torch.rand(groups, pattern.m, generator=self._draw).argsort(dim=1) < pattern.n

    logits = state = load_state = state_bytes = None
