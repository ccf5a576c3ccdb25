"""Mask change by layer: the share of kept weights that learning exchanged."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.masks import PackedMask
from nmlab.reports.read.trials import TrialRecord

BLOCK = re.compile(r"\.(\d+)\.")
ORDER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class LayerCurve:
    """One learned mask: percent of kept weights exchanged in each layer, mean and range over its seeds."""

    label: str
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class LayerChanges:
    """Curves over the same layers in the order of the network, or the reason why there are none."""

    layers: tuple[str, ...]
    curves: tuple[LayerCurve, ...]
    skipped: str = ""


def layer_change(mask: Mapping[str, PackedMask], *, start: Mapping[str, PackedMask]) -> dict[str, float] | None:
    """Return for each layer the share of kept weights that the start did not keep.

    Both masks keep equally many weights, so an exchange of one kept weight for another counts once.

    Returns:
        A share from 0 to 1 by layer, or None where the masks do not fit each other.
    """
    if mask.keys() != start.keys() or any(not mask[name].is_like(start[name]) for name in mask):
        return None
    kept = {name: own.entries * own.n / own.m for name, own in mask.items()}
    return {name: mask[name].different(start[name]) / 2 / kept[name] for name in mask}


def layer_changes(
    summary_rows: Sequence[SummaryRow], *, runs: StudyRuns, masks: Mapping[str, Mapping[str, PackedMask]]
) -> LayerChanges:
    """Return the change of every learned mask of the summary whose initial mask was kept.

    Args:
        summary_rows: the rows of the summary.
        runs: the launch, for its initial masks, which are separate runs that trials refer to by digest.
        masks: masks by run id and layer, those of the initial masks among them.
    """
    starts = {start.digest: start.run_id for start in runs.initial_masks}
    several = len({row.item.pattern for row in summary_rows if row.kind == "best"}) > 1
    layers: tuple[str, ...] = ()
    curves = []
    for row in summary_rows:
        if row.kind not in ("best", "baseline") or not row.item.is_learned:
            continue
        changes = [_change(trial, starts, masks) for trial in row.item.finished]
        known = [change for change in changes if change is not None]
        if not known or (layers and tuple(known[0]) != layers):
            continue
        layers = tuple(known[0])
        values_SL = 100 * np.array([list(change.values()) for change in known])
        label = f"{row.item.method} {row.item.pattern}" if several else row.item.method
        ends = (values_SL.min(axis=0), values_SL.max(axis=0))
        mean, low, high = (tuple(own.tolist()) for own in (values_SL.mean(axis=0), *ends))
        curves.append(LayerCurve(label, mean, low, high, row.item.key))
    if not curves:
        return LayerChanges((), (), skipped="no learned mask was kept together with the mask it started from")
    if not any(change for curve in curves for change in curve.high):
        return LayerChanges((), (), skipped="no learned mask differs from the mask it started from")
    return LayerChanges(tuple(_short(name) for name in layers), tuple(curves))


def _change(
    trial: TrialRecord, starts: Mapping[str, str], masks: Mapping[str, Mapping[str, PackedMask]]
) -> dict[str, float] | None:
    """Return the change of one run's mask by layer in the order of the network; None where either was not kept."""
    start = masks.get(starts.get(trial.initial_mask_digest, ""))
    own = masks.get(trial.run_id)
    if start is None or own is None:
        return None
    found = layer_change(own, start=start)
    return None if found is None else {name: found[name] for name in sorted(found, key=_place)}


def _place(name: str) -> tuple[int, int, str]:
    """Return the sort key of a layer in the order of the network; unknown names come last in their block."""
    block, last = BLOCK.search(name), name.rpartition(".")[2]
    return (int(block[1]) if block else -1, ORDER.index(last) if last in ORDER else len(ORDER), name)


def _short(name: str) -> str:
    """Return ``0 q_proj`` for ``model.layers.0.self_attn.q_proj``."""
    block = BLOCK.search(name)
    last = name.rpartition(".")[2]
    return f"{block[1]} {last}" if block else last
