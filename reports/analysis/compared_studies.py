"""The configurations of several studies for one table, and how their evaluations differ.

A study is given as ``STUDY``, which means its newest launch, or ``STUDY@LAUNCH``; several launches of one study that
are pooled are joined by commas. Behind a colon follows which of its configurations are meant, as in
``STUDY:maskpro,alpha=0.97`` (:mod:`nmlab.reports.analysis.selector`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.comparability import Difference, differences, evaluated_runs
from nmlab.reports.analysis.configurations import Configuration, configurations_of
from nmlab.reports.analysis.marks import MarkEvidence
from nmlab.reports.analysis.pairwise import Side, winners_of
from nmlab.reports.analysis.selector import selected
from nmlab.reports.read.collect import StudyRuns, collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.evaluations import read_evaluations
from nmlab.reports.read.pool import collect_pool
from nmlab.reports.read.store import RunStore
from nmlab.reports.read.typed_text import Value

ATTRIBUTES = ("study", "method", "pattern", "role")


@dataclass(frozen=True)
class ComparedConfiguration:
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


@dataclass(frozen=True)
class ComparedStudy:
    """A launch of a study, or several that are pooled, with those of its configurations that were selected, best first.

    Attributes:
        name: what tables call it.
        runs: all its runs.
        configurations: those that were selected.
        every: all its configurations.
        selector: which were selected; empty for all.
    """

    name: str
    runs: StudyRuns
    configurations: tuple[Configuration, ...]
    every: tuple[Configuration, ...] = ()
    selector: str = ""

    @property
    def members(self) -> tuple[ComparedConfiguration, ...]:
        """The configurations as members of the table."""
        launch, experiment = self.runs.launch.name, self.runs.experiment_id
        return tuple(ComparedConfiguration(self.name, launch, experiment, item) for item in self.configurations)


def read_studies(store: RunStore, *, studies: Sequence[str]) -> tuple[ComparedStudy, ...]:
    """Read several studies.

    Args:
        store: an opened store.
        studies: as this module describes them.

    Raises:
        ReportError: an unknown study or launch, one without a finished run, launches of several studies that should be
            pooled, a selector that fits nothing, or a study that is named twice.
    """
    found: dict[str, ComparedStudy] = {}
    for text in studies:
        if text in found:
            raise ReportError(f"study {text!r} is named twice")
        found[text] = read_study(store, text=text)
    return tuple(found.values())


def read_study(store: RunStore, *, text: str) -> ComparedStudy:
    """Read one study; arguments and errors as in :func:`read_studies`."""
    launches, _, selector = text.partition(":")
    named = [tuple(part.strip().partition("@")[::2]) for part in launches.split(",")]
    studies = list(dict.fromkeys(study for study, _ in named))
    if len(studies) > 1:
        raise ReportError(f"launches of {' and '.join(studies)} can't be pooled; give each as a side of its own")
    if len(named) == 1:
        runs = collect(store, study=studies[0], launch=named[0][1] or None)
    else:
        runs = collect_pool(store, study=studies[0], launches=[launch or None for _, launch in named])
    every = configurations_of(runs)
    kept = selected(every, selector=selector, of=launches)
    name = text if named[0][1] or selector else studies[0]
    return ComparedStudy(name, runs, kept, every, selector)


def evidence_of(store: RunStore, *, studies: Sequence[ComparedStudy]) -> MarkEvidence:
    """Return the evidence of marks besides the seeds: evaluations of masks without training noise, and the winners.

    Raises:
        ReportError: a corrupted artifact.
    """
    items = [item for study in studies for item in study.configurations if not item.is_dense]
    fixed = [item for item in items if not Side(item).has_training_noise]
    read = read_evaluations(store, run_ids=[trial.run_id for item in fixed for trial in item.finished])
    known = {run_id: item for run_id, item in read.items() if item is not None}
    winners = [
        winner
        for study in studies
        for winner in winners_of(study.configurations, evaluations=known, progress=study.runs.progress).values()
    ]
    return MarkEvidence(known, tuple(winners))


def differences_between(
    members: Sequence[ComparedConfiguration], *, dimensions: Iterable[str], metrics: Iterable[str]
) -> tuple[Difference, ...]:
    """Return the differences between the evaluations of these configurations that no row or column shows.

    Args:
        members: what goes into one table.
        dimensions: the dimensions of its rows and columns.
        metrics: the metrics shown; see `differences`.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    runs = [run for member in members for run in evaluated_runs(member.item, study=member.study)]
    return differences(runs, distinguished_by=set(dimensions), metrics=metrics)
