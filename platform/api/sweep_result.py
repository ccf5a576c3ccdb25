"""How a launch ended, as Python has it: its trials, its configurations and its report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.rendering import html_facts
from nmlab.platform.api.results import Configuration, Trial
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.values import JsonObject

if TYPE_CHECKING:
    import pandas as pd

    from nmlab.platform.api.reporting import Report
    from nmlab.reports.read.collect import StudyRuns


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A launch that has ended, or as far as it came.

    Numbers are read from MLflow when they are first asked for, and kept; `load_result` reads them anew. In a notebook
    it shows how the launch ended and its configurations.

    Attributes:
        study: the study's name.
        launch: the launch's name; `load_result` and `resume` take it.
        status: ``"finished"`` (every planned trial has ended, however), ``"stopped"``, ``"failed"`` or ``"running"``.
        counts: how many trials ended in which status.
        folder: the launch's folder on this machine, None if it is not here.
        tracking_uri: the MLflow store.
        model_loads: how often a replica loaded the model.
        frozen_weights: ``"verified"`` if the shared weights are the same bytes as before.
        seconds: how long it took.
        interrupted: whether a signal ended it.
        undelivered: why MLflow lacks a part of it; empty if it has everything.
        refused: what MLflow does not take, with the reason.
        search_stopped: why the search stopped before it had tried everything, and what was not run; else empty.
        confirmation: what the best of the search reached on fresh seeds, in a few lines; empty without
            ``search.confirm``, and for a launch whose folder is not here.
        page: the report that was written at its end, if there is one.
        headline: the findings of that report, in a few sentences.
        pooled: the launches, where it is several of one study whose runs are pooled; then it has no folder.
    """

    study: str
    launch: str
    status: str
    counts: Mapping[str, int]
    folder: Path | None = field(repr=False)
    tracking_uri: str = field(repr=False)
    model_loads: int = field(default=0, repr=False)
    frozen_weights: str = field(default="", repr=False)
    seconds: float = field(default=0.0, repr=False)
    interrupted: bool = field(default=False, repr=False)
    undelivered: str = field(default="", repr=False)
    refused: Mapping[str, str] = field(default_factory=dict, repr=False)
    search_stopped: str = field(default="", repr=False)
    confirmation: tuple[str, ...] = field(default=(), repr=False)
    page: Path | None = field(default=None, repr=False)
    headline: tuple[str, ...] = field(default=(), repr=False)
    pooled: tuple[str, ...] = field(default=(), repr=False)

    @property
    def finished_trials(self) -> int:
        """The number of trials that finished."""
        return self.counts.get(TrialStatus.FINISHED, 0)

    @property
    def is_success(self) -> bool:
        """Whether it ended as planned: all trials have ended, one finished at least, and MLflow has everything."""
        has_everything = not self.undelivered and not self.refused
        return self.status == LaunchStatus.FINISHED and has_everything and self.finished_trials > 0

    @property
    def metric(self) -> str:
        """The searched metric, by which configurations are selected."""
        return self._runs.objective.metric

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """One row a trial, with typed columns; see docs/python.md.

        Raises:
            ReportError: MLflow cannot be read, or has none of the launch's trials.
        """
        from nmlab.platform.api.frames import trials_frame

        return trials_frame(self._runs)

    @cached_property
    def configurations(self) -> "pd.DataFrame":
        """One row a configuration with ``mean``, ``low``, ``high`` and ``n``, the best of each group first.

        The numbers are those of the report. Raises ``ReportError`` as `trials` does.
        """
        from nmlab.platform.api.frames import configurations_frame

        return configurations_frame(self._runs)

    def best(self, *, method: str | None = None, pattern: str | None = None) -> Configuration:
        """Return the best searched configuration by its mean in the searched metric, as the report ranks them.

        A baseline is returned only where nothing was searched. Runs on fresh seeds (``search.confirm``) have no part in
        the choice. Without ``data.validation`` it is made on the text that is reported, so the mean is optimistic.

        Args:
            method: consider this method alone.
            pattern: consider this pattern alone; needed where the launch has several, which do not compare.

        Raises:
            ValueError: nothing that fits has finished, or there are several groups that do not compare.
            ReportError: MLflow cannot be read.
        """
        from nmlab.platform.api.reading import best_of_launch

        return best_of_launch(self, self._runs, method=method, pattern=pattern)

    def configuration(self, key: str) -> Configuration:
        """Return a configuration by its key or the first characters of it; raises ``ValueError`` if there is none."""
        from nmlab.platform.api.reading import configuration_of_launch

        return configuration_of_launch(self, self._runs, key=key)

    def trial(self, key: str) -> Trial:
        """Return a trial by its key or the first characters of it; raises ``ValueError`` if there is none."""
        from nmlab.platform.api.reading import trial_of_launch

        return trial_of_launch(self, self._runs, key=key)

    def report(self, output: str | Path | None = None, *, public: bool = False) -> "Report":
        """Write the report of this launch and return it; in a notebook it is shown.

        Args:
            output: the folder to write; by default that of the launch, else ``results/STUDY/report``.
            public: leave out user names, names and addresses of machines, and folders.

        Raises:
            ReportError: nothing finished, MLflow cannot be read, or the folder cannot be written.
        """
        from nmlab.platform.api.reporting import report

        folder = output or (None if self.folder is None else self.folder / "report")
        if self.pooled:
            return report(self.pooled, output=output, public=public, tracking_uri=self.tracking_uri)
        return report(
            self.study, launch=self.launch, output=folder, mixed=True, public=public, tracking_uri=self.tracking_uri
        )

    def record(self) -> JsonObject:
        """Return how it ended as plain JSON, as ``nmlab sweep --json`` prints it."""
        names = ("status", "model_loads", "frozen_weights", "seconds", "interrupted", "undelivered")
        written = None if self.page is None else {"html": str(self.page), "headline": list(self.headline)}
        own = {name: getattr(self, name) for name in names}
        launch = self.launch if self.folder is None else str(self.folder)
        stopped = {"search_stopped": self.search_stopped} if self.search_stopped else {}
        confirmed = {"confirmation": list(self.confirmation)} if self.confirmation else {}
        counts = {"counts": dict(self.counts), "refused": dict(self.refused)}
        return {**own, **counts, **stopped, **confirmed, "launch": launch, "report": written}

    @cached_property
    def _runs(self) -> "StudyRuns":
        from nmlab.reports.read.collect import collect
        from nmlab.reports.read.pool import collect_pool
        from nmlab.reports.read.store import open_store

        store = open_store(self.tracking_uri)
        if self.pooled:
            return collect_pool(store, study=self.study, launches=self.pooled, needs_finished=False)
        return collect(store, study=self.study, launch=self.launch, needs_finished=False)

    def _repr_html_(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        facts = {
            "launch": self.launch,
            "status": self.status,
            "trials": counts,
            "found": " ".join(self.headline),
            "search": self.search_stopped,
            "confirmation": " ".join(self.confirmation),
            "report": self.page,
            "undelivered": self.undelivered,
        }
        table = "" if self.undelivered or not self.finished_trials else self.configurations.to_html(max_rows=10)
        return html_facts(f"Sweep of {self.study}", facts) + table
