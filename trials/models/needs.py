"""What a trial needs, computed before anything is loaded: the bytes it holds and the work of one step.

Legend: G groups of all layers, M group size.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.bits import packed_size
from nmlab.trials.masks.codes import code_dtype
from nmlab.trials.models.prunable import PrunableLayer

FLOAT32 = 4
PER_SEED = ", of a seed"
"""How the names of shared results end that every seed has of its own."""
MakeWeights = Callable[[], Mapping[str, Tensor]]
"""Makes the weights of a forward by parameter name, of tensors without contents, some of which require a gradient."""


@dataclass(frozen=True)
class Shape:
    """The sizes on which the needs of a trial depend: of the model's tensors, the pattern and the calibration text.

    ``sizes`` are the shapes of all parameters by name; ``hidden`` is the width of the residual stream; ``sequences`` of
    ``length`` tokens are the calibration text, in ``minibatches``; ``vocabulary`` is the number of logits of a token.
    """

    layers: tuple[PrunableLayer, ...]
    sizes: Mapping[str, tuple[int, ...]]
    element_bytes: int
    hidden: int
    pattern: Pattern
    sequences: int
    length: int
    device: str = "cpu"
    minibatches: int = 1
    vocabulary: int = 0

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Numbers of elements of all parameters."""
        return {name: math.prod(size) for name, size in self.sizes.items()}

    @cached_property
    def prunable(self) -> int:
        """Prunable weights."""
        return sum(layer.numel for layer in self.layers)

    @property
    def groups(self) -> int:
        return self.prunable // self.pattern.m

    @property
    def code_bytes(self) -> int:
        """Bytes of one code of a mask for every group."""
        return self.groups * code_dtype(self.pattern.m).itemsize

    @property
    def weight_bytes(self) -> int:
        """Bytes of the prunable weights."""
        return self.prunable * self.element_bytes

    @property
    def hidden_bytes(self) -> int:
        """Bytes of the hidden states of the whole calibration text."""
        return self.sequences * self.length * self.hidden * self.element_bytes

    @property
    def largest_layer(self) -> int:
        """Weights of the largest prunable layer."""
        return max(layer.numel for layer in self.layers)


@dataclass(frozen=True)
class Needs:
    """The bytes that one trial of a method holds between two steps, and what its phases need besides them.

    Attributes:
        state: bytes of the method's state by part, as `Run.state_bytes` will count it.
        uncertain: how many of these bytes depend on the course of the run.
        masked: bytes of the masked weights, or of the masks, of its masked model.
        start: scratch bytes of the start, activations apart.
        step: scratch bytes of a step, activations apart.
        weights: makes, of tensors without contents, the weights by which a forward is differentiated; None means that
            the method runs forwards only.
        forwards: forwards of a step.
        distills: whether a loss compares two distributions over the vocabulary, and not one with a token.
        dense_forwards: forwards of the dense model in a step, beside those.
        held_batches: minibatches whose predictions by the dense model are held between two steps.
        passes: the work of a step beside them, in reads and writes of one float32 a prunable weight (an estimate).
        start_reads: how often the start runs the calibration text through the model; a backward counts as two more.
        start_weights: makes the weights by which the start differentiates a forward, as ``weights``; None means that no
            backward of the start takes more memory than a forward.
        extra_forwards: minibatches that the diagnostics of a finished run evaluate.
        shared: bytes of host memory of the results that the replica also keeps for other trials, by name; the names of
            those that every seed has of its own end in ``PER_SEED``.
    """

    state: Mapping[str, int] = field(default_factory=dict)
    uncertain: int = 0
    masked: int = 0
    start: int = 0
    step: int = 0
    weights: MakeWeights | None = None
    forwards: int = 1
    distills: bool = False
    dense_forwards: int = 0
    held_batches: int = 0
    passes: float = 0.0
    start_reads: float = 0.0
    start_weights: MakeWeights | None = None
    extra_forwards: int = 0
    shared: Mapping[str, int] = field(default_factory=dict)

    @property
    def state_bytes(self) -> int:
        return sum(self.state.values())


def one_shot_needs(
    shape: Shape, *, start: int = 0, start_reads: float = 0.0, shared: Mapping[str, int] | None = None
) -> Needs:
    """Return the needs of a method without steps: its boolean masks and what its start takes."""
    state, masked = {"masks": shape.prunable}, shape.weight_bytes
    return Needs(state=state, masked=masked, start=start, start_reads=start_reads, shared=shared or {})


def shared_norms(shape: Shape) -> dict[str, int]:
    """Return the bytes of the gradient norms that trials share: a float32 a prunable weight."""
    return {"gradient norms": FLOAT32 * shape.prunable}


def shared_start(name: str, shape: Shape, *, needs: Needs | None, per_seed: bool) -> dict[str, int]:
    """Return the bytes of an initial mask that trials share: a bit a weight, and what its method shares (``needs``)."""
    mine = f"initial mask {name} {shape.pattern}{PER_SEED if per_seed else ''}"
    return {mine: packed_size(shape.prunable), **(needs.shared if needs else {})}


def shared_scores(kind: str, name: str, shape: Shape, *, needs: Needs | None, per_seed: bool) -> dict[str, int]:
    """Return the bytes of scores that trials start from and share: a float32 a weight, and what ``needs`` shares.

    ``kind`` is what they are, such as "saliency".
    """
    mine = f"{kind} {name} {shape.pattern}{PER_SEED if per_seed else ''}"
    return {mine: FLOAT32 * shape.prunable, **(needs.shared if needs else {})}


def statistics_bytes(shape: Shape) -> int:
    """Return the bytes held while inputs are measured block by block: the hidden states before and after a block."""
    return 2 * shape.hidden_bytes


def adamw_state(shape: Shape, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the state of a run of `by_gradient` in bytes by part, for an optimiser with parameters of these sizes."""
    elements, step_counts, steps_done = sum(sizes.values()), 4 * len(sizes), 8
    return {
        "parameters": FLOAT32 * elements,
        "Adam moments": 2 * FLOAT32 * elements + step_counts,
        "last mask seen": packed_size(shape.prunable) + steps_done,
    }


def masked_by(shape: Shape, mask_GM: Tensor) -> dict[str, Tensor]:
    """Return weights without contents times a mask [G, M] of all layers, as `MaskedModel.masked_weights` does."""
    parts = torch.split(mask_GM, [layer.numel // shape.pattern.m for layer in shape.layers])
    dtype = {2: torch.bfloat16, 4: torch.float32}[shape.element_bytes]
    made = {}
    for layer, part in zip(shape.layers, parts, strict=True):
        dense_OI = torch.empty(layer.out_features, layer.in_features, dtype=dtype)
        made[f"{layer.name}.weight"] = (dense_OI * part.view_as(dense_OI).float()).to(dtype)
    return made
