"""How the runs of a configuration ended: whether the search stopped any of them early."""

import pandas as pd

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.frame import records_of
from nmlab.trials.contract.run_status import STOPPED_EARLY, TrialStatus


def is_pruned(status: str, *, reason: str) -> bool:
    """Return whether a run was stopped by the search because others did better."""
    return status == TrialStatus.PRUNED or (status == TrialStatus.STOPPED and reason.startswith(STOPPED_EARLY))


def pruned_runs(rows: pd.DataFrame) -> int:
    """Return how many rows of a trial table are runs that the search stopped early."""
    columns = [name for name in ("status", "reason") if name in rows]
    return sum(
        is_pruned(str(row["status"]), reason=str(row.get("reason", ""))) for row in records_of(rows, columns=columns)
    )


def is_stopped_early(item: Configuration) -> bool:
    """Return whether the search stopped any run of a configuration before all its steps."""
    return pruned_runs(item.trials) > 0
