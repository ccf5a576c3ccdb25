"""Tables of the layers for the kernels: rows of their groups, programs that process them, and keys of their draws.

Legend: L layers, P programs of a pass over all groups, D masks to draw, g some groups.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.randomness import key_bits

# Groups that a program serves for each unit of span: four stretches of `kernels.random.SHARE`.
_GROUPS = 512
# Masks whose keys are remembered: those of a step and of the next.
_KNOWN_KEYS = 32


class LayerTables:
    """Device tensors that describe a layout to the kernels.

    ``layers_L3`` int64 holds each layer's first row, number of groups and first program; ``program_layer_P`` int32 the
    layer of each program. A program serves ``span`` times 512 groups of one layer.

    ``span`` is a power of two. Raises ``ValueError`` for a layer of 2^31 weights or more, as kernels count the weights
    of a layer in 32 bits.
    """

    def __init__(self, layout: GroupLayout, *, device: torch.device, span: int) -> None:
        assert span & (span - 1) == 0, "the lengths of blocks in a kernel are powers of two"
        self.names = [layer.name for layer in layout.layers]
        self._known: dict[MaskKey, Tensor] = {}
        rows, programs, first_row, layer_of_program = [], 0, 0, []
        for number, layer in enumerate(layout.layers):
            if layer.numel >= 2**31:
                raise ValueError(f"engine 'triton': layer {layer.name} has {layer.numel} weights, expected below 2^31")
            groups = layout.pattern.groups(layer.numel)
            mine = -(-groups // (_GROUPS * span))
            rows.append((first_row, groups, programs))
            layer_of_program.append(torch.full((mine,), number, dtype=torch.int32))
            first_row, programs = first_row + groups, programs + mine
        self.span, self.programs = span, programs
        self.layers_L3 = torch.tensor(rows, dtype=torch.int64, device=device)
        self.program_layer_P = torch.cat(layer_of_program).to(device)
        self._starts_L = self.layers_L3[:, 0].contiguous()

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return self.layers_L3.nbytes + self.program_layer_P.nbytes + self._starts_L.nbytes

    def layer_of(self, groups_g: Tensor) -> Tensor:
        """Return the number of each group's layer, int64 [g]."""
        return torch.searchsorted(self._starts_L, groups_g, right=True) - 1

    def keys(self, keys: Sequence[MaskKey]) -> Tensor:
        """Return the 128 bits that belong to each layer and mask, int64 [L, D, 2]."""
        return torch.stack([self._key(key) for key in keys], dim=1)

    def _key(self, key: MaskKey) -> Tensor:
        """Return one mask's part of ``keys``, int64 [L, 2]; a pass and the draws after it ask for the same."""
        if key not in self._known:
            if len(self._known) >= _KNOWN_KEYS:
                self._known.clear()
            bits = [key_bits(key.seed, key.step, name, key.index) for name in self.names]
            halves_L2 = torch.tensor([(_signed(value), _signed(value >> 64)) for value in bits], dtype=torch.int64)
            self._known[key] = halves_L2.to(self.layers_L3.device, non_blocking=True)
        return self._known[key]


def _signed(value: int) -> int:
    """Return the lowest 64 bits as a signed number."""
    low = value & (2**64 - 1)
    return low - 2**64 if low >= 2**63 else low
