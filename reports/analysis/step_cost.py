"""What a training step takes of each learned method: its time by part, the numbers that it trains, and its state."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.analysis.totals import STEP_PARTS
from nmlab.trials.contract import run_params

TRAINED, STATE, MASKED = "cost/trainable_params", "memory/state_bytes", "memory/masked_weight_bytes"
BYTES_OF_A_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class StepCost:
    """One learned mask.

    Attributes:
        label: its method, and its pattern where there are several.
        parts: seconds of each part of a step (mean over seeds), in the order of ``STEP_PARTS``; empty if not timed.
        rest: seconds of a step beyond its parts.
        trained: numbers that it trains for each masked weight; None where that is not recorded.
        state: bytes that it keeps between steps for each masked weight.
    """

    label: str
    parts: tuple[float, ...]
    rest: float
    trained: float | None
    state: float | None
    key: str = ""


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Rows from top to bottom, or the reason why there are none."""

    rows: tuple[StepCost, ...]
    skipped: str = ""


def step_costs(summary_rows: Sequence[SummaryRow]) -> StepCosts:
    """Return what a step takes of every learned mask of the summary that recorded it."""
    items = {row.item.key: row.item for row in summary_rows if row.item.is_learned}.values()
    several = len({item.pattern for item in items}) > 1
    found = [_row(item, f"{item.method} {item.pattern}" if several else item.method) for item in items]
    rows = tuple(row for row in found if row.parts or row.trained is not None or row.state is not None)
    return StepCosts(rows, skipped="" if rows else "no learned mask recorded the parts of its steps or its state")


def _row(item: Configuration, label: str) -> StepCost:
    means = [part.mean for name in STEP_PARTS if (part := item.estimate(name)) is not None]
    parts = tuple(means) if len(means) == len(STEP_PARTS) else ()
    whole = item.estimate("time/step_s")
    rest = max(0.0, whole.mean - sum(parts)) if whole is not None and parts else 0.0
    return StepCost(
        label, parts, rest, trained=_per_weight(item, TRAINED), state=_per_weight(item, STATE), key=item.key
    )


def _per_weight(item: Configuration, metric: str) -> float | None:
    """Return a count over the number of masked weights, which follows from their bytes and the model's dtype."""
    size = BYTES_OF_A_WEIGHT.get(str(item.settings.get(run_params.MODEL_DTYPE, "float32")))
    value, held = item.estimate(metric), item.estimate(MASKED)
    if value is None or held is None or held.mean == 0 or size is None:
        return None
    return value.mean / (held.mean / size)
