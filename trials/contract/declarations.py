"""Find the metric of a name: the common ones, measures of tasks, and the metrics that methods declare.

nmlab's methods declare theirs as ``METRICS`` in ``metrics.py`` of their folder, which imports no torch. A method of
another package may name such a tuple by an entry point, under the method's own name:

    [project.entry-points."nmlab.metrics"]
    my_method = "my_package.my_metrics:METRICS"

Otherwise its ``Method.metrics`` is read once it is loaded; see `nmlab.trials.methods.registry`.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module, metadata
from pathlib import Path

from nmlab.trials.contract.metrics import COMMON, Metric, Phase, neutral_metric, task_metric

ENTRY_POINTS = "nmlab.metrics"
_METHODS = Path(__file__).parents[1] / "methods"
_COMMON: Mapping[str, Metric] = {metric.name: metric for metric in COMMON}
METHOD_FAMILIES = ("train", "time")
"""What a method records besides the loop: quantities of its steps, and the seconds of a step's phases."""


def common_metric(name: str) -> Metric | None:
    """Return the metric of this name that the loop of a trial records, or None.

    Measures of tasks and perplexities of neutral texts are among them.
    """
    return _COMMON.get(name) or task_metric(name) or neutral_metric(name)


def metric_of(name: str) -> Metric:
    """Return the metric of this name; an undeclared one has no unit and no direction.

    Methods of other packages are searched last, and only for a name that is known nowhere else.
    Raises ``ValueError`` with one line where the declaration of an installed package is not a tuple of metrics.
    """
    return declared_metric(name) or Metric(name)


@cache
def declared_metric(name: str) -> Metric | None:
    """Return the metric of this name, or None if it is not declared; raises as ``metric_of`` does."""
    own = (metric for metrics in own_metrics().values() for metric in metrics if metric.name == name)
    return common_metric(name) or next(own, None) or _plugin_metrics().get(name)


def recorded_by(method: str) -> tuple[Metric, ...] | None:
    """Return the metrics of a method besides the common ones, found without importing the method.

    None for a method of another package without an entry point for its metrics, and for an unknown one.
    """
    if method in own_metrics():
        return own_metrics()[method]
    return _loaded(_offered()[method]) if method in _offered() else None


def has_phase(names: Iterable[str], phase: Phase) -> bool:
    """Return whether any of these names is a common metric that is recorded in this phase."""
    return any((metric := common_metric(name)) is not None and metric.phase is phase for name in names)


def check_metrics(metrics: object, *, owner: str) -> tuple[Metric, ...]:
    """Return the metrics that a method declares; raises ``ValueError`` with one line for an invalid declaration.

    ``owner`` names the method in the message.
    """
    if not isinstance(metrics, tuple) or not all(isinstance(metric, Metric) for metric in metrics):
        raise ValueError(f"metrics of {owner}: expected a tuple of Metric, got {metrics!r}")
    for metric in metrics:
        if metric.family not in METHOD_FAMILIES or common_metric(metric.name) not in (None, metric):
            families = " or ".join(f"{family}/*" for family in METHOD_FAMILIES)
            raise ValueError(f"metrics of {owner}: {metric.name!r}: expected {families} and no common metric")
    return metrics


@cache
def own_metrics() -> Mapping[str, tuple[Metric, ...]]:
    """Return the metrics that each of nmlab's methods declares, by method; empty for common metrics only."""
    found: dict[str, tuple[Metric, ...]] = {}
    for folder in sorted(path.parent for path in _METHODS.glob("*/__init__.py")):
        has_own = (folder / "metrics.py").is_file()
        declared = import_module(f"nmlab.trials.methods.{folder.name}.metrics").METRICS if has_own else ()
        found[folder.name] = check_metrics(declared, owner=folder.name)
    return found


def rescan() -> None:
    """Clear the cached declarations; for a process in which packages are installed or removed, as in tests."""
    for cached in (declared_metric, _offered, _plugin_metrics):
        cached.cache_clear()


@cache
def _offered() -> Mapping[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}


@cache
def _plugin_metrics() -> Mapping[str, Metric]:
    """Return the metrics that installed packages declare, by name; two different ones of one name are refused."""
    found = {metric.name: metric for metrics in own_metrics().values() for metric in metrics}
    for entry in _offered().values():
        for metric in _loaded(entry):
            if found.setdefault(metric.name, metric) != metric:
                raise ValueError(f"metrics of {entry.name}: {metric.name!r} is declared differently by another method")
    return found


def _loaded(entry: metadata.EntryPoint) -> tuple[Metric, ...]:
    try:
        metrics = entry.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"metrics of {entry.name} cannot be loaded from {entry.value}: {error}") from error
    return check_metrics(metrics, owner=entry.name)


def is_intermediate(values: Mapping[str, object]) -> bool:
    """Return whether values are an evaluation during training: neither the initial nor the final one.

    The final one, recognised by metrics that are recorded at the end only, is in the result. A scheduler that received
    it before would stop a trial that is complete, and count it as stopped early.
    """
    return has_phase(values, Phase.EVALUATION) and not has_phase(values, Phase.END)
