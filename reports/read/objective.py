"""The objective of a search as its launch recorded it: the metric that selects configurations, its mode and limits."""

from collections.abc import Mapping
from dataclasses import dataclass

from nmlab.reports.read.errors import ReportError
from nmlab.search_spaces.reading import study_yaml
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.trials.contract import run_params
from nmlab.trials.contract.metrics import initial_name, reported_name


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective of the search, by which configurations are selected: a metric name and ``min`` or ``max``.

    ``constraints`` are limits on other metrics; a configuration of the search that breaks one is never the best.
    """

    metric: str
    mode: str
    constraints: tuple[Constraint, ...] = ()

    @property
    def initial(self) -> str:
        """The column that holds the same metric of a run's own initial mask."""
        return initial_name(self.metric)

    @property
    def reported(self) -> str:
        """The metric by which configurations are reported and compared.

        It is ``eval/x`` where they are selected by ``validation/x``, otherwise the objective itself.
        """
        return reported_name(self.metric)

    @property
    def selects_on_validation(self) -> bool:
        """Whether configurations are selected on another text than they are reported on."""
        return self.metric != self.reported


def objective_of(params: Mapping[str, str]) -> Objective:
    """Return the searched metric of a launch, the first if there are several.

    Raises:
        ReportError: a mode other than ``min`` and ``max``.
    """
    metric = _first(params.get(run_params.SEARCH_METRIC, "eval/perplexity"))
    mode = _first(params.get(run_params.SEARCH_MODE, "min"))
    if mode not in ("min", "max"):
        raise ReportError(f"{run_params.SEARCH_MODE} is {mode!r}; expected 'min' or 'max'")
    return Objective(metric=metric, mode=mode, constraints=_constraints_of(params))


def _constraints_of(params: Mapping[str, str]) -> tuple[Constraint, ...]:
    """Return the constraints of a search from ``search.constraints.METRIC.max`` and ``.min``, by metric."""
    limits: dict[str, dict[str, float]] = {}
    for name, value in sorted(params.items()):
        if name.startswith(run_params.SEARCH_CONSTRAINTS):
            metric, _, end = name.removeprefix(run_params.SEARCH_CONSTRAINTS).rpartition(".")
            limits.setdefault(metric, {})[end] = float(value)
    return tuple(Constraint(metric, max=own.get("max"), min=own.get("min")) for metric, own in limits.items())


def _first(text: str) -> str:
    """Return the first name of ``a``, ``a,b`` or ``['a', 'b']``."""
    value = study_yaml.parse(text, source="parameter") if text.startswith("[") else text.split(",")
    return str(value[0]).strip()
