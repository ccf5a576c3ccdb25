"""Overlaps of the masks as a matrix with the chance level, and corners of the masks as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.read.masks import Bools, PackedMask
from nmlab.trials.contract.pattern import Pattern

MOST_MASKS = 12
PICTURES = 6
CORNER = 8
LAYERS = ("q_proj", "k_proj", "up_proj")


@dataclass(frozen=True, slots=True)
class OverlapMatrix:
    """The masks of one pattern: ``shares[i][j]`` of weights that masks i and j both keep or both drop."""

    pattern: str
    labels: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    chance: float


@dataclass(frozen=True, slots=True)
class MaskOverlaps:
    """One matrix for each pattern with at least two masks, or the reason why there is none."""

    matrices: tuple[OverlapMatrix, ...]
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class MaskCorners:
    """Corners of masks: ``pictures[i][j]`` of mask i in layer j, True where a weight is kept; or why there are none."""

    labels: tuple[str, ...]
    layers: tuple[str, ...]
    pictures: tuple[tuple[Bools, ...], ...]
    pattern: str = ""
    skipped: str = ""


def overlap(first: Mapping[str, PackedMask], *, second: Mapping[str, PackedMask]) -> float | None:
    """Return the share of weights that both masks keep or both drop, over all layers.

    Returns:
        A share from 0 to 1, or None where the masks have different layers, shapes or patterns.
    """
    if first.keys() != second.keys() or any(not first[name].is_like(second[name]) for name in first):
        return None
    different = sum(first[name].different(second[name]) for name in first)
    return 1 - different / sum(mask.entries for mask in first.values())


def overlaps_of(summary_rows: Sequence[SummaryRow], *, masks: Mapping[str, Mapping[str, PackedMask]]) -> MaskOverlaps:
    """Return the overlaps between the masks of the summary, by the first seed of each.

    Args:
        summary_rows: the rows of the summary; initial masks and the dense model have no artifact of their own.
        masks: masks by run id and layer.
    """
    patterns: dict[str, list[tuple[str, Mapping[str, PackedMask]]]] = {}
    for label, pattern, found in _kept(summary_rows, masks):
        patterns.setdefault(pattern, []).append((label, found))
    matrices = []
    for pattern, members in patterns.items():
        shown = members[:MOST_MASKS]
        rows = [[overlap(own, second=other) for _, other in shown] for _, own in shown]
        if len(shown) < 2 or any(value is None for row in rows for value in row):
            continue
        shares = tuple(tuple(value for value in row if value is not None) for row in rows)
        chance = Pattern.parse(pattern).chance_overlap
        matrices.append(OverlapMatrix(pattern, tuple(label for label, _ in shown), shares, chance))
    return MaskOverlaps(tuple(matrices), skipped="" if matrices else "no two comparable masks were kept")


def corners_of(summary_rows: Sequence[SummaryRow], *, masks: Mapping[str, Mapping[str, PackedMask]]) -> MaskCorners:
    """Return the first 8 rows and columns of up to six masks of one pattern in three layers."""
    kept = _kept(summary_rows, masks)
    first = next((pattern for _, pattern, _ in kept), "")
    shown = [(label, found) for label, pattern, found in kept if pattern == first]
    shown = [*shown[: PICTURES // 2], *shown[PICTURES // 2 :][-(PICTURES - PICTURES // 2) :]]
    if len(shown) < 2:
        return MaskCorners((), (), (), skipped="no two comparable masks were kept")
    names = [name for name in shown[0][1] if all(name in found for _, found in shown)]
    layers = [next((name for name in names if name.endswith(layer)), None) for layer in LAYERS]
    chosen = [name for name in layers if name is not None] or names[: len(LAYERS)]
    pictures = tuple(tuple(found[name].corner(CORNER) for name in chosen) for _, found in shown)
    return MaskCorners(tuple(label for label, _ in shown), tuple(chosen), pictures, first)


def _kept(
    summary_rows: Sequence[SummaryRow], masks: Mapping[str, Mapping[str, PackedMask]]
) -> list[tuple[str, str, Mapping[str, PackedMask]]]:
    found = []
    for row in summary_rows:
        own = [masks[trial.run_id] for trial in row.item.finished if trial.run_id in masks]
        if own and row.kind not in ("initial", "dense"):
            found.append((row.item.method, row.item.pattern, own[0]))
    return found
