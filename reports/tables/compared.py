"""The configurations that go into one table, with their studies, and whether they may stand beside each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.comparability import Difference, differences, evaluated_runs
from nmlab.reports.analysis.configurations import Configuration, configurations_of
from nmlab.reports.analysis.metrics import is_of_task
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.frame import Value
from nmlab.reports.read.store import RunStore

ATTRIBUTES = ("study", "method", "pattern", "role")


@dataclass(frozen=True)
class Member:
    """One configuration of one study."""

    study: str
    launch: str
    experiment_id: str
    item: Configuration

    def get(self, dimension: str) -> Value | None:
        """Return what a row or column is told by: study, method, pattern, role or a setting."""
        if dimension == "study":
            return self.study
        if dimension in ATTRIBUTES:
            return "" if dimension == "pattern" and self.item.is_dense else str(getattr(self.item, dimension))
        return self.item.settings.get(dimension)


def members_of(store: RunStore, *, studies: Sequence[str]) -> tuple[Member, ...]:
    """Return the configurations of several studies.

    Args:
        store: an opened store.
        studies: names, each with ``@launch`` where not the newest launch is meant.

    Raises:
        ReportError: an unknown study or launch, one without a finished run, or a study that is named twice.
    """
    found: list[Member] = []
    seen: set[str] = set()
    for text in studies:
        study, _, launch = text.partition("@")
        if text in seen:
            raise ReportError(f"study {text!r} is named twice")
        seen.add(text)
        runs = collect(store, study=study, launch=launch or None)
        name = text if launch else study
        found += [Member(name, runs.launch.name, runs.experiment_id, item) for item in configurations_of(runs)]
    return tuple(found)


def differences_between(
    members: Sequence[Member], *, dimensions: Iterable[str], metrics: Iterable[str]
) -> tuple[Difference, ...]:
    """Return in what the runs of these configurations differ that no row or column tells apart.

    Args:
        members: what goes into one table.
        dimensions: what its rows and columns tell apart.
        metrics: what it shows; tasks matter only where it shows a measure of one.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    runs = [run for member in members for run in evaluated_runs(member.item, study=member.study)]
    has_tasks = any(map(is_of_task, metrics))
    return differences(runs, distinguished_by=set(dimensions), has_tasks=has_tasks)
