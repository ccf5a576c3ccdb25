"""The configurations of several studies for one table, and how their evaluations differ."""

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
        """Return the value of a row or column dimension: study, method, pattern, role or a setting."""
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
    """Return the differences between the evaluations of these configurations that no row or column shows.

    Args:
        members: what goes into one table.
        dimensions: the dimensions of its rows and columns.
        metrics: the metrics shown; facts of tasks matter only where a measure of a task is shown.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    runs = [run for member in members for run in evaluated_runs(member.item, study=member.study)]
    has_tasks = any(map(is_of_task, metrics))
    return differences(runs, distinguished_by=set(dimensions), has_tasks=has_tasks)
