"""The bytes that an engine will hold, by part, computed without making it; a test compares them with real engines.

Legend: G groups of all layers, M group size.
"""

from collections.abc import Sequence

import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.choice import EngineTask, check_kernels, deviating_at_first, engine_name, is_large
from nmlab.trials.engines.event.blocks import SUPERBLOCK, TILE
from nmlab.trials.engines.event.windows import HOT
from nmlab.trials.engines.sequence_losses import TOGETHER
from nmlab.trials.models.needs import FLOAT32, Shape
from nmlab.trials.models.prunable import PrunableLayer
from nmlab.trials.models.sequences.ways import choose_way

# The event engine's history begins with room for so many steps, two float64 each, and doubles.
_HISTORY_STEPS = 1024
_HOT_SHARE = 1 / 8
# Of a deviating group whose layer is corrected: its entries with their places while these are found, 12 bytes each of
# them afterwards.
_CORRECTED_GROUP = 220
_INDEX = 8


def engine_needs(
    name: str, shape: Shape, *, logits: str, sampler: str, exact: bool, magnitude: float, steps: int
) -> tuple[dict[str, int], int]:
    """Return the bytes of an engine by part, and how many of them depend on the course of the run.

    ``name`` is one of `ENGINES`, resolved by the code that a run uses. The kernels are checked where there is a GPU;
    elsewhere they are assumed to be right. Raises ``ValueError`` as ``choice.engine_name`` does.
    """
    pattern = shape.pattern
    task = EngineTask(
        pattern=pattern,
        groups_of_layers=tuple(pattern.groups(layer.numel) for layer in shape.layers),
        device=torch.device(shape.device),
        magnitude=magnitude,
        logits=logits,
        sampler=sampler,
        exact=exact,
    )
    name = engine_name(name, task, check=check_kernels if torch.cuda.is_available() else _unchecked)
    if name == "reference":
        return {"logits float32": FLOAT32 * shape.prunable}, 0
    width = {"float32": FLOAT32, "bfloat16_delta": 2}[logits]
    store = {f"logits {logits}": width * shape.prunable, "initial mask": shape.code_bytes}
    if name == "linear":
        return {**store, "modes and bounds": shape.code_bytes + FLOAT32 * shape.groups}, 0
    if name == "triton":  # words of 32 bits and the lists of finds
        return {**store, "modes and bounds": 8 * shape.groups}, shape.groups
    event = {**store, "modes and stamps": shape.code_bytes + 4 * shape.groups, "rates": _watch(shape)}
    event["history"] = _history(steps)
    delegated, uncertain = _delegated(shape, magnitude) if name == "adaptive" else (0, 0)
    if pattern.n < pattern.m:
        adaptive = name == "adaptive"
        each = 16 + 16 * pattern.m  # its number and how often it deviates, its logits and their score in float64
        event["hot groups"] = 0 if adaptive else each * _hot_at_first(shape, magnitude)
        uncertain += int(shape.groups * each * (_HOT_SHARE if adaptive else 1))
    if name == "adaptive":
        event["delegated layers"] = delegated
    return event, uncertain


def sequence_bytes(shape: Shape, *, masks: int, share: float) -> int:
    """Return the scratch bytes of a step in which each of ``masks`` sequences has a mask of its own.

    These are the draws, held until the logits have moved, and what `SequenceLosses` needs beside the activations of a
    forward: no copy of the masked weights but one of the largest layer. ``share`` of the groups deviate in a mask.
    """
    draws = masks * share * shape.groups * (_INDEX + shape.pattern.m)
    together = min(TOGETHER, masks)
    of_layers = [_sequence_bytes_of(layer, shape, together=together, share=share) for layer in shape.layers]
    return int(draws + max(own for own, _ in of_layers) + sum(corrected for _, corrected in of_layers))


def _sequence_bytes_of(layer: PrunableLayer, shape: Shape, *, together: int, share: float) -> tuple[float, float]:
    """Return the scratch bytes of a layer's forward, and those of its correction, which are held with the others'."""
    groups = share * shape.pattern.groups(layer.numel)
    way = choose_way(
        round(together * groups),
        sequences=together,
        tokens=shape.length,
        shape=(layer.out_features, layer.in_features),
        device=torch.device(shape.device),
    )
    if way == "own":
        patch = groups * (_INDEX + shape.pattern.m * (1 + 2 * shape.element_bytes))
        return layer.numel * shape.element_bytes + patch, 0
    entries = together * shape.length * 2 * groups
    return entries * (FLOAT32 + shape.element_bytes), _CORRECTED_GROUP * together * groups


def _unchecked(device: torch.device, pattern: Pattern, kind: str) -> None:
    """Replace the check of kernels where there is no GPU to run them on."""


def _large(shape: Shape) -> Sequence[PrunableLayer]:
    """Return the layers that are large enough for the event engine."""
    return [layer for layer in shape.layers if is_large(shape.pattern.groups(layer.numel))]


def _watch(shape: Shape) -> int:
    """Bounds of slots (4 bytes), of tiles (8) and superblocks (16); windows of tiles (12) and superblocks (20)."""
    blocks = sum(-(-shape.pattern.groups(layer.numel) // SUPERBLOCK) for layer in shape.layers)
    return blocks * (4 * SUPERBLOCK + 8 * TILE + 16 + 12 * TILE + 20)


def _history(steps: int) -> int:
    """Two float64 a step, in a buffer that doubles when it is full."""
    room = _HISTORY_STEPS
    while room <= steps:
        room *= 2
    return 16 * room


def _delegated(shape: Shape, magnitude: float) -> tuple[int, int]:
    """Bytes of modes and bounds of the layers that are delegated at first, and of those that may be later."""
    each = shape.code_bytes // shape.groups + FLOAT32
    large = _groups(_large(shape), shape)
    delegated = shape.groups if _hot_at_first(shape, magnitude) else shape.groups - large
    return delegated * each, large * each


def _hot_at_first(shape: Shape, magnitude: float) -> int:
    """Return how many groups are hot at the initial logits: all or none."""
    return shape.groups if deviating_at_first(shape.pattern, magnitude) > HOT else 0


def _groups(layers: Sequence[PrunableLayer], shape: Shape) -> int:
    return sum(shape.pattern.groups(layer.numel) for layer in layers)
