"""The registry of methods by name: those of nmlab, and those that installed packages offer as entry points.

A package adds a method by one line in its pyproject.toml, and every process that can import the package, Ray's workers
included, finds it:

    [project.entry-points."nmlab.methods"]
    my_method = "my_package.my_method:METHOD"

``METHOD.metrics`` declares the metrics besides the common ones. The same tuple in a module that imports no torch may be
offered under the method's name; studies and reports then know unit and direction without loading the method:

    [project.entry-points."nmlab.metrics"]
    my_method = "my_package.my_metrics:METRICS"
"""

from functools import cache
from importlib import import_module, metadata

from nmlab.trials.contract import declarations
from nmlab.trials.contract.errors import SettingError
from nmlab.trials.contract.metrics import Metric
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.values import Hyperparameters
from nmlab.trials.methods.base import Method

ENTRY_POINTS = "nmlab.methods"
_OWN = {
    name: metadata.EntryPoint(name, f"nmlab.trials.methods.{name}:METHOD", ENTRY_POINTS)
    for name in (
        "dense",
        "random",
        "magnitude",
        "wanda",
        "sparsegpt",
        "sparsegpt_mask",
        "gblm",
        "pruner_zero",
        "first_order",
        "maskllm",
        "proxsparse",
        "maskpro",
        "susi",
        "soft_topn",
        "simple",
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all methods, those of other packages last; raises ``ValueError`` where two have one name."""
    return tuple(_entry_points())


@cache
def get(name: str) -> Method:
    """Return the method called ``name``.

    Raises ``ValueError`` with the nearest name where there is none, and for a package's method that cannot be used.
    """
    points = _entry_points()
    if name not in points:
        raise SettingError(unknown_name(name, kind="method", known=points), method=name, setting="method")
    point = points[name]
    try:
        method = point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"method {name!r} of {_package(point)} cannot be loaded from {point.value}: {error}"
        ) from error
    if not isinstance(method, Method) or method.name != name:
        raise ValueError(
            f"method {name!r} of {_package(point)}: {point.value} is {method!r}, expected a Method so named"
        )
    return method


def load(name: str) -> Method:
    """Return the method called ``name`` after importing the modules that its trials compute with.

    Raises ``ValueError`` as ``get`` does, and for a module that cannot be imported.
    """
    method = get(name)
    for module in method.imports:
        try:
            import_module(module)
        except ImportError as error:
            raise ValueError(f"method {name!r} of {package_of(name)}: cannot import {module}: {error}") from error
    return method


def uses_seed(name: str, hyperparameters: Hyperparameters) -> bool:
    """Return whether another seed gives another result of a method with these hyperparameters.

    Raises ``ValueError`` as ``get`` and ``Method.configure`` do.
    """
    method = get(name)
    return method.uses_seed(method.configure(hyperparameters))


def metrics_of(name: str) -> tuple[Metric, ...]:
    """Return the metrics of a method besides the common ones, as its package or the method itself declares them.

    Empty for a method that declares none. Raises ``ValueError`` as ``get`` does, and for an invalid declaration.
    """
    declared = declarations.recorded_by(name)
    return declarations.check_metrics(get(name).metrics, owner=name) if declared is None else declared


def package_of(name: str) -> str:
    """Return the name of the installed package that a method comes from."""
    return _package(_entry_points()[name])


def packages() -> tuple[str, ...]:
    """Return the names of the installed packages, nmlab apart, that offer methods."""
    return tuple(sorted({_package(point) for point in _entry_points().values()} - {"nmlab"}))


def rescan() -> None:
    """Clear the cached methods; for a process in which packages are installed or removed, as in tests."""
    _entry_points.cache_clear()
    get.cache_clear()
    declarations.rescan()


@cache
def _entry_points() -> dict[str, metadata.EntryPoint]:
    points = dict(_OWN)
    for point in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda found: (found.name, _package(found))):
        if point.name in points:
            owners = f"{_package(points[point.name])} and {_package(point)}"
            raise ValueError(f"two methods are called {point.name!r}, those of {owners}; uninstall or rename one")
        points[point.name] = point
    return points


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "nmlab"
