"""A trial and a configuration of a launch, read from MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.rendering import html_facts
from nmlab.trials.contract.metrics import EVAL, NEUTRAL
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.values import Hyperparameters

if TYPE_CHECKING:
    import pandas as pd

    from nmlab.platform.api.masks import Mask


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
            **{name: _shown(value) for name, value in self.metrics.items() if name.startswith(_SHOWN_METRICS)},
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


_SHOWN_METRICS = (EVAL, NEUTRAL)


def _shown(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value
