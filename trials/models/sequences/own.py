"""The product of each sequence with its own weights, made of the applied ones by patching the groups that differ.

Legend: K sequences, T tokens, O outputs, I inputs, g groups of a sequence, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.models.sequences.deviations import LayerDeviations

# Beyond this share of changed groups, copying the whole weight in order costs less than restoring the groups.
_WORTH_COPYING = 0.03


def own_products(
    inputs_KTI: Tensor, weight_OI: Tensor, *, applied_OI: Tensor, bias_O: Tensor | None, deviations: LayerDeviations
) -> Tensor:
    """Return the outputs [K, T, O] of a layer whose sequences have their own masks over ``weight``.

    ``applied`` is weight times the applied mask, and only read. The products are those of K separate forwards.
    """
    m = deviations.masks[0].shape[1]
    outputs_KTO = inputs_KTI.new_empty(*inputs_KTI.shape[:2], len(weight_OI))
    dense_GM, applied_GM = weight_OI.view(-1, m), applied_OI.view(-1, m)
    own_OI = applied_OI.clone()
    own_GM, transposed = own_OI.view(-1, m), own_OI.t()
    for index, (groups_g, masks_gM) in enumerate(deviations.by_sequence()):
        own_GM.index_copy_(0, groups_g, dense_GM.index_select(0, groups_g) * masks_gM)
        if bias_O is None:
            torch.mm(inputs_KTI[index], transposed, out=outputs_KTO[index])
        else:
            torch.addmm(bias_O, inputs_KTI[index], transposed, out=outputs_KTO[index])
        if len(groups_g) > _WORTH_COPYING * len(own_GM):
            own_OI.copy_(applied_OI)
        else:
            own_GM.index_copy_(0, groups_g, applied_GM.index_select(0, groups_g))
    return outputs_KTO
