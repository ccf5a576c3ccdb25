"""Whether the sequences of a minibatch go through a model side by side, layer by layer, found by a few tokens.

In most architectures row k of a layer's inputs belongs to sequence k and depends on nothing else. Experts that get the
tokens routed to them are the exception.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_SEQUENCES, _TOKENS = 3, 8
# Relative difference of inputs that are equal but for rounding, in any type; those of other tokens differ by about 1.
_ROUNDING = 0.1


@torch.no_grad()
def are_independent(run: Callable[[Tensor], object], layers: Sequence[nn.Linear], *, vocabulary: int) -> bool:
    """Return whether each of ``layers`` gets, for several sequences at once, what it gets for each of them alone.

    ``run`` makes a forward of token ids [sequences, tokens]. The result depends on the model only.
    """
    tokens_KT = (torch.arange(_SEQUENCES * _TOKENS) * 7919 + 1).remainder(vocabulary).view(_SEQUENCES, _TOKENS)
    with _inputs_of(layers) as seen:
        for part in (tokens_KT, *torch.split(tokens_KT, 1)):
            seen.append([[] for _ in layers])
            run(part)
    together, *alone = seen
    return all(_same(together[index], [each[index] for each in alone]) for index in range(len(layers)))


@contextmanager
def _inputs_of(layers: Sequence[nn.Linear]) -> Iterator[list[list[list[Tensor]]]]:
    """Record the inputs of every call, by forward and layer."""
    seen: list[list[list[Tensor]]] = []

    def recorder(index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: seen[-1][index].append(inputs[0])

    handles = [layer.register_forward_pre_hook(recorder(index)) for index, layer in enumerate(layers)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _same(together: Sequence[Tensor], alone: Sequence[Sequence[Tensor]]) -> bool:
    """Compare the calls of one layer: in the forward of all sequences, and in those of each alone."""
    if not together or any(len(calls) != len(together) for calls in alone):
        return False
    return all(_are_rows(inputs, [calls[index] for calls in alone]) for index, inputs in enumerate(together))


def _are_rows(inputs: Tensor, parts: Sequence[Tensor]) -> bool:
    width = inputs.shape[-1]
    rows = [part.reshape(-1, width) for part in parts]
    if any(len(each) != _TOKENS for each in rows) or inputs.numel() != _SEQUENCES * _TOKENS * width:
        return False
    expected = torch.cat(rows).float()
    return bool((inputs.reshape(-1, width).float() - expected).norm() <= _ROUNDING * expected.norm())
