"""The layout of all groups of all layers in one [G, M] tensor, so that an operation is one kernel, not one a layer.

Legend: G groups of all layers, g some of them, M group size.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models import PrunableLayer


class GroupLayout:
    """The rows of a [G, M] tensor that belong to each layer."""

    def __init__(self, layers: Sequence[PrunableLayer], *, pattern: Pattern) -> None:
        self.layers = tuple(layers)
        self.pattern = pattern
        self._rows: dict[str, slice] = {}
        start = 0
        for layer in self.layers:
            stop = start + layer.numel // pattern.m
            self._rows[layer.name] = slice(start, stop)
            start = stop
        self.groups = start

    @property
    def groups_of_layers(self) -> list[int]:
        """How many groups each layer has."""
        return [rows.stop - rows.start for rows in self._rows.values()]

    def pieces(self, groups: int) -> list[tuple[slice, list[tuple[str, slice]]]]:
        """Cut the rows into pieces of at most ``groups``.

        Returns for every piece its rows, and which rows *of the piece* belong to which layer, in order.
        """
        cut = []
        for start in range(0, self.groups, groups):
            stop = min(start + groups, self.groups)
            overlaps = [(name, max(rows.start, start), min(rows.stop, stop)) for name, rows in self._rows.items()]
            layers = [(name, slice(low - start, high - start)) for name, low, high in overlaps if low < high]
            cut.append((slice(start, stop), layers))
        return cut

    def parts(self, groups_g: Tensor) -> Iterator[tuple[str, slice, int]]:
        """Split groups, given in ascending order, by layer.

        Yields for every layer with any of them its name, its slice of ``groups_g``, and its first group.
        """
        ends = torch.tensor([rows.stop for rows in self._rows.values()], device=groups_g.device)
        start = 0
        for (name, rows), stop in zip(self._rows.items(), torch.searchsorted(groups_g, ends).tolist(), strict=True):
            if start < stop:
                yield name, slice(start, stop), rows.start
            start = stop

    def split(self, tensor_GM: Tensor) -> dict[str, Tensor]:
        """Return a view [out, in] of every layer's part."""
        # One split, not a slice a layer: the gradient of each slice would be as large as the whole tensor.
        parts = torch.split(tensor_GM, self.groups_of_layers)
        return {
            layer.name: part.view(layer.out_features, layer.in_features)
            for layer, part in zip(self.layers, parts, strict=True)
        }

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the tensors of all layers as one [G, M]."""
        return torch.cat([tensors[layer.name].reshape(-1, self.pattern.m) for layer in self.layers])
