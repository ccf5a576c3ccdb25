"""What the search found of its best configurations beside what fresh seeds find, as a figure shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.settings import distinguishing, setting_of, value_text
from nmlab.reports.statistics import MeanEstimate


@dataclass(frozen=True, slots=True)
class FreshRow:
    """One configuration: its mean over the seeds of the search and over fresh seeds, with the runs of the latter."""

    key: str
    label: str
    search: MeanEstimate
    fresh: MeanEstimate
    fresh_runs: tuple[str, ...]
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class FreshSeeds:
    """Finalists in the order of the search, then baselines; or the reason why there are none.

    The label of a finalist is its values of the settings in ``label_names``.
    """

    metric: str
    label_names: tuple[str, ...]
    rows: tuple[FreshRow, ...]
    skipped: str = ""


def fresh_seeds_of(configurations: Sequence[Configuration]) -> FreshSeeds:
    """Return every configuration with a mean of the search and one over fresh seeds, in the reported metric."""
    metric = configurations[0].objective.reported
    ordered = [*searched(configurations), *baselines(configurations)]
    again = [item for item in ordered if item.is_confirmed and item.value is not None]
    names = distinguishing(searched(again)) or ("method",)
    found = [_row(item, names) for item in again]
    rows = tuple(row for row in found if row is not None)
    return FreshSeeds(metric, names, rows, skipped="" if rows else "no configuration ran again on fresh seeds")


def _row(item: Configuration, names: Sequence[str]) -> FreshRow | None:
    search, fresh = item.value, item.as_reported.value
    if search is None or fresh is None:
        return None
    values = [setting_of(item, name=name) for name in names]
    label = item.method if item.is_baseline else " · ".join("–" if own is None else value_text(own) for own in values)
    runs = item.as_reported.runs_with(item.objective.reported)
    return FreshRow(item.key, label, search, fresh, runs, item.is_baseline)
