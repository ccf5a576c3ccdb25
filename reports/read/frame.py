"""The child runs of a launch as a table of pandas, for notebooks and for whoever else works with frames."""

from collections.abc import Sequence
from dataclasses import fields

import pandas as pd

from nmlab.reports.read.trials import TrialRecord


def trial_frame(trials: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return records as a table: a column for each field, and for each setting and metric that any of them has.

    Where a run lacks a setting or metric, the value is NaN.
    """
    own = [item.name for item in fields(TrialRecord) if item.name not in ("settings", "metrics")]
    settings = dict.fromkeys(name for trial in trials for name in trial.settings)
    metrics = sorted({name for trial in trials for name in trial.metrics})
    rows = [{**{name: getattr(trial, name) for name in own}, **trial.settings, **trial.metrics} for trial in trials]
    return pd.DataFrame(rows, columns=[*own, *settings, *metrics])
