"""The entries in which the weights of single sequences differ from the applied ones, and the rows that hold them.

Legend: L layers, n deviating groups of all layers and sequences, M group size, e changed entries, u rows that hold any.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nmlab.trials.models.masked_weight import MaskedWeight
from nmlab.trials.models.sequences.deviations import LayerDeviations


@dataclass(frozen=True, eq=False)
class Entries:
    """Changed entries by layer, sequence, row and column, in this order; indices are int64, changes float32."""

    layer_e: Tensor
    sequence_e: Tensor
    row_e: Tensor
    column_e: Tensor
    value_e: Tensor

    @classmethod
    def of(cls, layers: Sequence[tuple[MaskedWeight, LayerDeviations]]) -> "Entries":
        """Compare weight times mask of each sequence with what is applied to the layer."""
        joined = [(masked, *deviations.joined()) for masked, deviations in layers]
        change_nM = torch.cat([masked.change(groups_n, masks_nM) for masked, _, groups_n, masks_nM in joined])
        which_e, position_e = change_nM.nonzero(as_tuple=True)
        device = change_nM.device
        count_L = torch.tensor([len(groups_n) for _, _, groups_n, _ in joined], device=device)
        layer_e = torch.repeat_interleave(torch.arange(len(layers), device=device), count_L)[which_e]
        sequence_e = torch.cat([sequence_n for _, sequence_n, _, _ in joined])[which_e]
        group_e = torch.cat([groups_n for _, _, groups_n, _ in joined])[which_e]
        groups_L = torch.tensor(
            [masked.dense_OI.shape[1] // change_nM.shape[1] for masked, *_ in joined], device=device
        )
        in_row_e = groups_L[layer_e]  # groups of a row
        row_e = group_e.div(in_row_e, rounding_mode="floor")
        column_e = (group_e - row_e * in_row_e) * change_nM.shape[1] + position_e
        return cls(layer_e, sequence_e, row_e, column_e, change_nM[which_e, position_e].float())


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of entries, and where each entry is among those of its row; int64.

    Attributes:
        start_u: the first entry of each row.
        rank_u: place of the row among those of its layer and sequence, 0 for the one with the most entries.
        row_e: the row of each entry, from 0.
        slot_e: place of each entry in its row.
    """

    start_u: Tensor
    rank_u: Tensor
    row_e: Tensor
    slot_e: Tensor


def rows_of(entries: Entries, *, sequences: int) -> Rows:
    """Group the entries by layer, sequence and row."""
    count = len(entries.row_e)
    block_e = entries.layer_e * sequences + entries.sequence_e
    new_e = torch.ones(count, dtype=torch.bool, device=block_e.device)
    new_e[1:] = (entries.row_e.diff() != 0) | (block_e.diff() != 0)
    start_u = new_e.nonzero().flatten()
    row_e = new_e.cumsum(0) - 1
    count_u = start_u.diff(append=start_u.new_full((1,), count))
    slot_e = torch.arange(count, device=start_u.device) - start_u[row_e]
    return Rows(start_u, _ranks(block_e[start_u], count_u), row_e, slot_e)


def _ranks(block_u: Tensor, count_u: Tensor) -> Tensor:
    """Return the rank of each row in its block by descending count; equal counts keep their order."""
    if not len(block_u):
        return block_u
    order_u = (block_u * (count_u.max() + 1) - count_u).argsort(stable=True)
    rows_B = torch.bincount(block_u)
    before_B = rows_B.cumsum(0) - rows_B
    rank_u = torch.empty_like(order_u)
    rank_u[order_u] = torch.arange(len(order_u), device=order_u.device) - before_B[block_u[order_u]]
    return rank_u
