"""Pruning columns from left to right while the columns to come make up for the error (Frantar and Alistarh 2023).

Legend: O outputs, I inputs, B columns of one block, M group size. U is upper triangular with U^T U = H^-1 for the
damped Hessian H [I, I]. Row c of U over U_cc is what the removal of column c asks of the later columns, and U_cc^2 is
the inverse Hessian's diagonal entry once all earlier columns are settled. All in float32. Weights are worked on
transposed, [I, O], so that a column lies in one piece.
"""

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import keep_largest_columns
from nmlab.trials.methods.sparsegpt.config import unsupported_block_size_reason


class IndefiniteHessianError(ValueError):
    """A Hessian that has no Cholesky factor in float32 at the given damping."""


def prune(
    weight: Tensor,
    hessian: Tensor,
    pattern: Pattern,
    *,
    damping: float = 0.01,
    block_size: int = 128,
    scores: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose a mask and update the weights that stay, by the saliency W_ij^2 / U_jj^2 of the weights as updated so far.

    The mask of a group is chosen at its first column and not revised. ``block_size`` changes speed and rounding only.

    Args:
        weight: [out, in], any floating-point dtype.
        hessian: [in, in], twice the mean over sequences of X^T X. An input that was always zero counts as dead: its
            weights become zero, but where a group has too few live ones the mask keeps dead ones, so it is N:M always.
        damping: share of the mean diagonal that is added to the diagonal.
        scores: float32 [out, in], filled with the root of the saliency by which each weight was chosen or not: that of
            the weight as it was when its group's mask was chosen.

    Returns:
        The mask, bool [out, in], and the updated weight in the dtype of ``weight``, zero where the mask is false.

    Raises:
        IndefiniteHessianError: if the damped Hessian cannot be factored; more damping helps.
        ValueError: if shapes do not fit, or M does not divide the input size or ``block_size``.
    """
    _check(weight, hessian, pattern, block_size=block_size)
    work_IO = weight.detach().T.to(torch.float32).clone(memory_format=torch.contiguous_format)
    work_IO[hessian.diagonal() == 0] = 0
    scores_IO = None if scores is None else scores.T
    factor_II = inverse_factor(hessian, damping=damping)
    mask_IO = torch.empty_like(work_IO, dtype=torch.bool)
    for start in range(0, len(work_IO), block_size):
        here, later = slice(start, start + block_size), slice(start + block_size, None)
        errors_BO = _prune_block(
            work_IO[here],
            mask_BO=mask_IO[here],
            scores_BO=None if scores_IO is None else scores_IO[here],
            factor_BB=factor_II[here, here],
            pattern=pattern,
        )
        work_IO[later].addmm_(factor_II[here, later].T, errors_BO, alpha=-1)
    if not bool(work_IO.isfinite().all()):
        raise ValueError("weight: the updated weights are not finite; is the given one?")
    return mask_IO.T.contiguous(), work_IO.T.to(weight.dtype).contiguous()


def inverse_factor(hessian: Tensor, *, damping: float) -> Tensor:
    """Return the upper Cholesky factor U of the inverse of the damped Hessian, float32 [in, in].

    Dead inputs get a diagonal of 1 before the mean diagonal is taken. Raises ``IndefiniteHessianError``.
    """
    damped_II = hessian.detach().to(torch.float32, copy=True)
    diagonal_I = damped_II.diagonal()
    diagonal_I[diagonal_I == 0] = 1
    diagonal_I += damping * diagonal_I.mean()
    try:
        lower_II = torch.linalg.cholesky(damped_II)
        upper_II: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower_II), upper=True)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # documented, but not in its __all__
        raise _indefinite(damping) from error
    if not bool(upper_II.isfinite().all()):
        raise _indefinite(damping)
    return upper_II


def _indefinite(damping: float) -> IndefiniteHessianError:
    return IndefiniteHessianError(f"hessian: not positive definite in float32 with damping {damping:g}; raise damping")


def _prune_block(
    work_BO: Tensor, *, mask_BO: Tensor, scores_BO: Tensor | None, factor_BB: Tensor, pattern: Pattern
) -> Tensor:
    """Prune the columns of a block in place, fill in mask and scores, and return the errors, each over its pivot.

    What a group asks of later columns is due when the next group is chosen, so that one product brings it to them.
    """
    errors_BO = torch.empty_like(work_BO)
    for start in range(0, len(work_BO), pattern.m):
        group, later = slice(start, start + pattern.m), slice(start + pattern.m, None)
        _prune_group(
            work_BO[group],
            mask_MO=mask_BO[group],
            scores_MO=None if scores_BO is None else scores_BO[group],
            errors_MO=errors_BO[group],
            factor_MM=factor_BB[group, group],
            n=pattern.n,
        )
        work_BO[later].addmm_(factor_BB[group, later].T, errors_BO[group], alpha=-1)
    return errors_BO


def _prune_group(
    work_MO: Tensor, *, mask_MO: Tensor, scores_MO: Tensor | None, errors_MO: Tensor, factor_MM: Tensor, n: int
) -> None:
    """Choose the mask of a group, then settle its columns one by one; all but the factor are written in place."""
    pivots_M = factor_MM.diagonal()
    chosen_by_MO = (work_MO / pivots_M[:, None]).abs_()  # ranks as its square does
    mask_MO.copy_(keep_largest_columns(chosen_by_MO, n))
    if scores_MO is not None:
        scores_MO.copy_(chosen_by_MO)
    for column, pivot in enumerate(pivots_M):
        torch.div(work_MO[column].masked_fill(mask_MO[column], 0), pivot, out=errors_MO[column])
        work_MO[column].mul_(mask_MO[column])
        work_MO[column + 1 :].addr_(factor_MM[column, column + 1 :], errors_MO[column], alpha=-1)


def _check(weight: Tensor, hessian: Tensor, pattern: Pattern, *, block_size: int) -> None:
    inputs = weight.shape[-1]
    if weight.ndim != 2 or hessian.shape != (inputs, inputs):
        raise ValueError(
            f"hessian: shape {tuple(hessian.shape)}, expected [in, in] for a weight [out, in] of {tuple(weight.shape)}"
        )
    if inputs % pattern.m:
        raise ValueError(f"weight: {inputs} inputs do not split into groups of {pattern.m} (pattern {pattern})")
    if reason := unsupported_block_size_reason(block_size, pattern):
        raise ValueError(reason)
