"""Estimates of what a step of the event engine costs for a layer, in steps of the linear engine.

The adaptive engine compares them with 1 to choose the engine of each layer.

Legend: g some groups of a layer, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.engines.event.blocks import SUPERBLOCK
from nmlab.trials.engines.event.engine import EventEngine
from nmlab.trials.engines.event.rates import UNIT
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.masks import deviation

# Costs of the event engine, in units of the linear engine's cost of a group a step: of a group that deviates (beyond
# what it costs the linear engine too), of a group whose window has ended, and of a hot group a step. Medians of 1:4 to
# 8:16 on one core, which lie between 5 and 8, 3 and 7, and 1.0 and 1.3.
DEVIATION, LOOK, HOT_STEP = 6.0, 4.5, 1.25
# Groups of a layer, evenly spaced, from which its cost is estimated.
_PROBES = 2**14


class LayerCosts:
    """Estimates costs from the state of an event engine and the logits of the layers that it has delegated."""

    def __init__(self, event: EventEngine, *, store: LogitStore) -> None:
        self._event, self._store = event, store
        self._n = event.layout.pattern.n

    def of_delegated(self, rows: slice) -> float:
        """Return the cost of a layer that a linear engine holds, from its logits in the store."""
        probe_g = torch.arange(rows.start, rows.stop, _stride(rows.stop - rows.start), device=self._store.device)
        logits_gM, mode_gM = self._store.read(probe_g), self._event.mode(probe_g)
        return float(self._of_groups(deviation.probability(logits_gM, mode_gM, n=self._n)).mean())

    def of_watched(self, layer: int, *, groups: int) -> float:
        """Return the cost of a layer that the event engine holds, from the bounds of its groups."""
        watch = self._event.watch
        first = watch.blocks.layer_blocks(layer).start * SUPERBLOCK
        bound_g = watch.rates.bound_S[first : first + groups : _stride(groups)]
        # Hot groups have no bound and count as free here.
        hot = self._event.hot.by_layer()[layer]
        return float(self._of_groups(bound_g.double() * UNIT).mean()) + HOT_STEP * hot / groups

    def _of_groups(self, q_g: Tensor) -> Tensor:
        """Return the cost of groups that deviate with probability ``q_g``; [g]."""
        windows, history = self._event.watch.windows, self._event.history
        cold_g = q_g * DEVIATION + windows.looks(q_g, history) * LOOK
        return cold_g.masked_fill_(q_g > windows.hottest(history), HOT_STEP)


def _stride(groups: int) -> int:
    return max(1, groups // _PROBES)
