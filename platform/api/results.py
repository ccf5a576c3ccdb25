"""Results of a launch, read from MLflow: the launch, its configurations and its trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.rendering import html_facts
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.values import Hyperparameters, JsonObject

if TYPE_CHECKING:
    import pandas as pd

    from nmlab.platform.api.masks import Mask
    from nmlab.platform.api.reporting import Report
    from nmlab.reports.read.collect import StudyRuns


@dataclass(frozen=True, eq=False)
class Trial:
    """One trial: a configuration with one seed.

    Attributes:
        key: the trial's key, the same wherever it is run; `load_result` takes it.
        configuration: the key that it shares with the other seeds.
        method: its method.
        pattern: its pattern, such as ``"2:4"``.
        seed: its seed.
        status: ``"finished"``, ``"diverged"``, ``"oom"``, ``"failed"``, ``"stopped"`` or ``"running"``.
        reason: why it did not finish; empty for a finished one.
        settings: hyperparameters and other settings by name.
        metrics: its final metrics by name, such as ``"eval/perplexity"``.
        study: the study, or ``"runs"`` for a trial of `run`.
        launch: the launch; the trial's own key for one of `run`.
        run_id: its run in MLflow, None if MLflow has none.
        folder: its folder on this machine, None if it is not here.
        tracking_uri: the MLflow store.
    """

    key: str
    configuration: str
    method: str
    pattern: str
    seed: int
    status: str
    reason: str
    settings: Hyperparameters = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)
    study: str
    launch: str
    run_id: str | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)
    tracking_uri: str = field(default="", repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether it finished, so that it has a result."""
        return self.status == TrialStatus.FINISHED

    @property
    def perplexity(self) -> float | None:
        """Its perplexity on the held-out text, None where it was not evaluated."""
        return self.metrics.get("eval/perplexity")

    @cached_property
    def mask(self) -> "Mask":
        """Its mask, read from its folder here, else from MLflow.

        Raises:
            ValueError: it did not finish, it is the dense model, which has no mask, or its file is gone or damaged.
        """
        from nmlab.platform.api.trial_files import mask_of

        return mask_of(self)

    def history(self) -> "pd.DataFrame":
        """Return what was recorded while it ran.

        Returns:
            One row for each step with a record, under the index ``step``, and one column (float64) for each metric;
            NaN where a metric has no value at that step. The step 0 is the mask that it started from.

        Raises:
            ReportError: MLflow cannot be read, or has no run of it.
        """
        from nmlab.platform.api.trial_files import history_of

        return history_of(self)

    def _repr_html_(self) -> str:
        facts = {
            "study": self.study,
            "launch": self.launch,
            "configuration": self.configuration,
            "method": f"{self.method} {self.pattern}, seed {self.seed}",
            "status": f"{self.status} {self.reason}".strip(),
            **{name: _shown(value) for name, value in self.settings.items() if "." not in name},
            **{name: _shown(value) for name, value in self.metrics.items() if name.startswith("eval/")},
        }
        return html_facts(f"Trial {self.key}", facts)


@dataclass(frozen=True, eq=False)
class Configuration:
    """One setting with its trials, which differ in the seed alone.

    Attributes:
        key: the configuration's key; `load_result` takes it.
        method: its method.
        pattern: its pattern.
        role: ``"search"``, or ``"baseline"`` if it was run besides the search for comparison.
        settings: hyperparameters and other settings by name.
        metric: the reported metric: the searched one, or ``eval/x`` where the search is by ``validation/x``.
        mean: its mean over the finished seeds of the search; None if none finished.
        low: the lower end of the mean's 95 % interval (Student's t over seeds); None for one seed.
        high: the upper end.
        n: the finished seeds.
        planned: the seeds that were planned.
        trials: its trials, by seed; those on fresh seeds last.
        selected_by: the searched metric, by which configurations are selected.
        selected_mean: its mean over the finished seeds of the search; None if none has it.
        fresh_mean: the mean of ``metric`` over fresh seeds (``search.confirm``); None where none finished.
        fresh_low: the lower end of its 95 % interval.
        fresh_high: the upper end.
        fresh_n: the finished fresh seeds.
        looked_at: how many configurations of the search it was compared with, itself included; 0 for a baseline.
    """

    key: str
    method: str
    pattern: str
    role: str
    settings: Hyperparameters = field(repr=False)
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    planned: int
    trials: tuple[Trial, ...] = field(repr=False)
    selected_by: str = ""
    selected_mean: float | None = None
    fresh_mean: float | None = None
    fresh_low: float | None = None
    fresh_high: float | None = None
    fresh_n: int = 0
    looked_at: int = 0

    @property
    def trial(self) -> Trial:
        """The trial that stands for it: that of the first finished seed, which every command takes.

        No seed is chosen by its result, because that would be a choice on what is reported. Raises ``ValueError`` if no
        seed finished.
        """
        finished = [trial for trial in self.trials if trial.is_finished]
        if not finished:
            states = ", ".join(sorted({trial.status for trial in self.trials})) or "not begun"
            raise ValueError(f"configuration {self.key} has no finished trial; its trials are {states}")
        return finished[0]

    @property
    def mask(self) -> "Mask":
        """The mask of `trial`, its first finished seed; ``configuration.trials[i].mask`` is that of another.

        Raises:
            ValueError: no seed finished, or as `Trial.mask`.
        """
        return self.trial.mask

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its trials."""
        return tuple(trial.seed for trial in self.trials)

    def _repr_html_(self) -> str:
        interval = "" if self.low is None else f", 95 % interval {self.low:.5g} to {self.high:.5g}"
        facts = {
            "method": f"{self.method} {self.pattern}",
            **{name: _shown(value) for name, value in self.settings.items() if "." not in name},
            self.metric: "" if self.mean is None else f"{self.mean:.5g}{interval}",
            **self._more_facts(),
            "seeds": f"{self.n} finished of {self.planned}",
        }
        return html_facts(f"Configuration {self.key}", facts)

    def _more_facts(self) -> dict[str, str]:
        """Return what selected it, its mean over fresh seeds and its competitors, as far as there is any."""
        facts = {}
        if self.selected_mean is not None and self.selected_by != self.metric:
            facts[f"selected by {self.selected_by}"] = f"{self.selected_mean:.5g}"
        if self.fresh_mean is not None:
            facts["on fresh seeds"] = f"{self.fresh_mean:.5g} ({self.fresh_n} seeds)"
        if self.looked_at > 1:
            facts["looked at"] = f"{self.looked_at} configurations"
        return facts


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
        from nmlab.reports.read.store import open_store

        return collect(open_store(self.tracking_uri), study=self.study, launch=self.launch, needs_finished=False)

    def _repr_html_(self) -> str:
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        facts = {
            "launch": self.launch,
            "status": self.status,
            "trials": ended,
            "found": " ".join(self.headline),
            "search": self.search_stopped,
            "confirmation": " ".join(self.confirmation),
            "report": self.page,
            "undelivered": self.undelivered,
        }
        table = "" if self.undelivered or not self.finished_trials else self.configurations.to_html(max_rows=10)
        return html_facts(f"Sweep of {self.study}", facts) + table


def _shown(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value
