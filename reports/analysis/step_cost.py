"""What a training step takes: its time by part, and the memory of its state, for each learned method."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.trials.contract import run_params
from nmlab.trials.contract.pattern import Pattern

PARTS = {"time/sample_s": "sample the mask", "time/forward_s": "forward", "time/update_s": "update"}
PANELS = {
    "cost/trainable_params": "trained numbers per weight",
    "memory/state_bytes": "bytes of a trial's state per weight",
}
BYTES_OF_A_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class StepTime:
    """One learned mask: seconds of each part of a step (mean over seeds), and the rest of the step."""

    label: str
    parts: tuple[float, ...]
    rest: float


@dataclass(frozen=True, slots=True)
class TimingInfo:
    """Rows from top to bottom, or the reason why there are none."""

    rows: tuple[StepTime, ...]
    skipped: str = ""


def timing_info(summary_rows: Sequence[SummaryRow]) -> TimingInfo:
    """Return the parts of a step of every learned mask of the summary that was timed."""
    items = {row.item.key: row.item for row in summary_rows if row.item.is_learned}
    several = len({item.pattern for item in items.values()}) > 1
    found = [_row(item, several=several) for item in items.values()]
    rows = tuple(row for row in found if row is not None)
    return TimingInfo(rows, skipped="" if rows else "no learned mask recorded the parts of its steps")


def _row(item: Configuration, *, several: bool) -> StepTime | None:
    found = [item.estimate(name) for name in PARTS]
    if any(part is None for part in found):
        return None
    parts = tuple(part.mean for part in found if part is not None)
    whole = item.estimate("time/step_s")
    rest = max(0.0, whole.mean - sum(parts)) if whole is not None else 0.0
    return StepTime(f"{item.method} {item.pattern}" if several else item.method, parts, rest)


@dataclass(frozen=True, slots=True)
class MemoryPanel:
    """One quantity: a value for each method (outer) and pattern (inner), None where that was not run."""

    title: str
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """Panels over the same methods and patterns, or the reason why there are none."""

    methods: tuple[str, ...]
    patterns: tuple[str, ...]
    panels: tuple[MemoryPanel, ...]
    skipped: str = ""


def memory_info(configurations: Sequence[Configuration]) -> MemoryInfo:
    """Return trained numbers and state bytes per masked weight of each learned method and pattern.

    These are exact counts, the same for every seed; the first complete configuration represents its method and pattern.
    """
    learned = [item for item in configurations if item.is_learned and item.is_complete]
    methods = tuple(dict.fromkeys(item.method for item in learned))
    patterns = tuple(sorted({item.pattern for item in learned}, key=_numbers))
    first = {(item.method, item.pattern): item for item in reversed(learned)}
    panels = []
    for metric, title in PANELS.items():
        values = tuple(
            tuple(_per_weight(first.get((method, pattern)), metric) for pattern in patterns) for method in methods
        )
        if any(value is not None for row in values for value in row):
            panels.append(MemoryPanel(title, values))
    if not panels:
        return MemoryInfo((), (), (), skipped="no learned mask recorded how much it trains and holds")
    if len(methods) == len(patterns) == 1:
        return MemoryInfo((), (), (), skipped="one learned method at one pattern; its numbers are in the tables")
    return MemoryInfo(methods, patterns, tuple(panels))


def _per_weight(item: Configuration | None, metric: str) -> float | None:
    """Return a count over the number of masked weights, which follows from their bytes and the model's dtype."""
    if item is None:
        return None
    size = BYTES_OF_A_WEIGHT.get(str(item.settings.get(run_params.MODEL_DTYPE, "float32")))
    value, held = item.estimate(metric), item.estimate("memory/masked_weight_bytes")
    if value is None or held is None or held.mean == 0 or size is None:
        return None
    return value.mean / (held.mean / size)


def _numbers(text: str) -> tuple[int, int]:
    pattern = Pattern.parse(text)
    return pattern.m, pattern.n
