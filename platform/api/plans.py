"""Plan a study: what it would run, and its memory, time and disk, before anything is started."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from nmlab.platform.api.named_results import GivenLaunch, launch_texts
from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.api.rendering import html_of, text_of
from nmlab.platform.api.study import Study, as_study

if TYPE_CHECKING:
    import pandas as pd

    from nmlab.platform.planning.estimate import Estimate
    from nmlab.platform.planning.plan_record import PlanRecord


@dataclass(frozen=True, repr=False, eq=False)
class Plan:
    """What a sweep of a study would run on this machine. As text, and in a notebook, it is what ``nmlab plan`` prints.

    Attributes:
        study: the study.
    """

    study: Study
    _estimate: "Estimate" = field(repr=False)

    @property
    def trials(self) -> int:
        """The trials of a launch, baselines and every seed included, and as many as may confirm the search."""
        return self._estimate.plan.trials

    @property
    def configurations(self) -> int:
        """The configurations that the search tries."""
        return self._estimate.plan.configurations

    @property
    def seconds(self) -> float:
        """How long a launch takes here: estimated, or measured if the plan was made with ``probe=True``."""
        return float(self.record()["seconds"])

    @property
    def bytes_needed(self) -> int:
        """The memory that one replica takes on its device, its slots included."""
        return int(self.record()["memory"]["needed"])

    def record(self) -> "PlanRecord":
        """Return everything as plain JSON, as ``nmlab plan --json`` prints it."""
        return self._record.copy()

    def frame(self) -> "pd.DataFrame":
        """Return the trials that are known before the search begins: method, pattern, seed and what varies."""
        import pandas as pd

        listed = self._record["trial list"]
        rows = [
            {"method": trial["method"], "pattern": trial["pattern"], "seed": trial["seed"], **trial["settings"]}
            for trial in listed
        ]
        return pd.DataFrame(rows).convert_dtypes(convert_floating=False)

    def view(self, *, every: bool = False) -> Iterator[RenderableType]:
        """Yield the lines and tables that show the plan, with the first trials or ``every`` one of them."""
        from nmlab.platform.api.plan_text import SHOWN, plan_view

        shown = None if every else SHOWN
        return plan_view({**self._record, "trial list": self._record["trial list"][:shown]})

    @cached_property
    def _record(self) -> "PlanRecord":
        from nmlab.platform.planning.plan_record import plan_record

        return plan_record(self._estimate)

    def __str__(self) -> str:
        return text_of(self.view())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_of(self.view())


def plan(
    study: Study | str | Path | Mapping[str, object],
    *,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    probe: bool = False,
    warm_start: GivenLaunch | Sequence[GivenLaunch] = (),
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Plan:
    """Check a study against its model, text and machine, and estimate what it takes. Nothing is started.

    Args:
        study: a study, or what `load_study` takes.
        preset: the size of the study, where it is given by its name.
        overrides: settings as ``--set`` takes them, such as ``"search.samples=4"``.
        probe: load the model and time three real steps of every method.
        warm_start: launches that the search would start from, as `sweep` takes them.
        results: the folder for launches, where these are looked for; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store, where they are looked for as well; by default ``MLFLOW_TRACKING_URI``, else
            ``sqlite:///nmlab.db``.

    Returns:
        The plan; ``print(plan)`` shows it.

    Raises:
        StudyError: a study that cannot be read.
        ValueError: one that its methods, its model, its text or this machine refuses, or a warm start that is of no
            use; the text says why in one line.

    Example:
        >>> import nmlab
        >>> plan = nmlab.plan("quickstart", overrides=["search.samples=4", "seeds=[0]"])
        >>> plan.trials, plan.configurations
        (31, 4)
    """
    loaded = as_study(study, preset=preset, overrides=overrides)

    from nmlab.platform.planning.study_plan import plan_study

    launch_plan = plan_study(loaded)
    warm = None
    if names := launch_texts(warm_start):
        from nmlab.platform.driver.warm_start import plan_warm_start

        folder, uri = results_folder(results), store_uri(tracking_uri)
        warm = plan_warm_start(launch_plan, names, results=folder, tracking_uri=uri)

    from nmlab.platform.planning.estimate import Estimate, probe_methods  # loads torch; the study is checked before

    estimate = Estimate.here(launch_plan, warm=warm)
    estimate.check()
    if probe:
        estimate = Estimate.here(launch_plan, probes=probe_methods(launch_plan), warm=warm)
        estimate.check()
    return Plan(loaded, estimate)
