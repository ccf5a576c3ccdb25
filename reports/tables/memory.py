"""Memory by kind (counted) and by phase (measured), one row for each method and pattern."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.tables.cells import CONFIGURATION, METHOD, pattern_cells, pattern_columns
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, without_empty_columns


def _column(metric: str, title: str, meaning: str) -> Column:
    return Column(metric, title, Style.MEBIBYTES, help=f"{metric}: {meaning}")


KINDS = (
    _column("memory/weight_bytes", "weights", "the frozen model, once for all trials of a replica"),
    _column("memory/masked_weight_bytes", "masked weights", "weights or masks that the trial applies"),
    _column("memory/state_bytes", "state", "what the method keeps between steps"),
    _column("memory/learning_activation_bytes", "a step", "temporary tensors of one step, at their peak"),
    _column("memory/evaluation_activation_bytes", "a batch", "the same of one batch of evaluation"),
)
PHASES = tuple(
    _column(f"memory/{phase}_peak_bytes", f"peak {phase}", "the most that the process held in this phase")
    for phase in ("load", "start", "learning", "evaluation")
)
CAPTION = (
    "MiB, highest of a configuration's finished runs. Weights, state and activations (a step, a batch) are counted "
    "tensor by tensor and do not depend on the machine. Peaks are of the whole process: memory of the GPU where there "
    "is one, else resident memory, libraries and trials side by side included."
)


def memory_table(configurations: Sequence[Configuration]) -> ReportTable:
    """Return a row for the first complete configuration of each method and pattern that recorded its kinds."""
    ordered = (*searched(configurations), *baselines(configurations))
    recorded = [item for item in ordered if item.is_complete and item.estimate(KINDS[0].key) is not None]
    first = {(item.method, item.pattern): item for item in reversed(recorded)}
    items = [item for item in recorded if first[item.method, item.pattern] is item]
    patterns = pattern_columns(configurations)
    table = ReportTable(
        key="memory",
        title="Memory",
        caption=CAPTION,
        columns=(METHOD, *patterns, *KINDS, *PHASES, CONFIGURATION),
        rows=tuple(_row(item, patterns) for item in items),
    )
    return without_empty_columns(table)


def _row(item: Configuration, patterns: Sequence[Column]) -> Row:
    cells = (
        Cell(item.method),
        *pattern_cells(item, columns=patterns),
        *(_highest(item, column.key) for column in (*KINDS, *PHASES)),
        Cell(item.key, run_ids=item.run_ids),
    )
    kind = "dense" if item.is_dense else "baseline" if item.is_baseline else "searched"
    return Row(cells, run_ids=item.run_ids, kind=kind)


def _highest(item: Configuration, metric: str) -> Cell:
    value = item.highest(metric)
    return Cell(None) if value is None else Cell(value, run_ids=item.runs_with(metric))
