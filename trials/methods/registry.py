"""The methods by name: those of nmlab, and those that installed packages offer as entry points.

A package adds a method by one line in its pyproject.toml, and every process that can import the package, Ray's workers
included, finds it:

    [project.entry-points."nmlab.methods"]
    my_method = "my_package.my_method:METHOD"

What it records beside the common metrics is in ``METHOD.metrics``. The same tuple in a module that imports no torch may
be offered under the method's name; then studies and reports know unit and direction without loading the method:

    [project.entry-points."nmlab.metrics"]
    my_method = "my_package.my_metrics:METRICS"
"""

from functools import cache
from importlib import metadata

from nmlab.trials.contract import declarations
from nmlab.trials.contract.metrics import Metric
from nmlab.trials.methods.base import Method
from nmlab.trials.names import unknown_name

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
        "maskllm",
        "proxsparse",
        "maskpro",
        "susi",
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all methods, those of other packages last; raises ``ValueError`` where two have one name."""
    return tuple(_homes())


@cache
def get(name: str) -> Method:
    """Return the method called ``name``.

    Raises ``ValueError`` with the nearest name where there is none, and for a package's method that cannot be used.
    """
    homes = _homes()
    if name not in homes:
        raise ValueError(unknown_name(name, kind="method", known=homes))
    home = homes[name]
    try:
        method = home.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"method {name!r} of {_package(home)} cannot be loaded from {home.value}: {error}") from error
    if not isinstance(method, Method) or method.name != name:
        raise ValueError(f"method {name!r} of {_package(home)}: {home.value} is {method!r}, expected a Method so named")
    return method


def metrics_of(name: str) -> tuple[Metric, ...]:
    """Return what a method records beside the common metrics, as its package declares it or the method itself does.

    Empty for one that declares nothing; raises ``ValueError`` as ``get`` does, and for what is no declaration.
    """
    declared = declarations.recorded_by(name)
    return declarations.check_metrics(get(name).metrics, owner=name) if declared is None else declared


def package_of(name: str) -> str:
    """Return the name of the installed package that a method comes from."""
    return _package(_homes()[name])


def packages() -> tuple[str, ...]:
    """Return the names of the installed packages, nmlab apart, that offer methods."""
    return tuple(sorted({_package(home) for home in _homes().values()} - {"nmlab"}))


def rescan() -> None:
    """Forget which methods there are; for a process in which a package appears or goes while it runs, as in tests."""
    _homes.cache_clear()
    get.cache_clear()
    declarations.rescan()


@cache
def _homes() -> dict[str, metadata.EntryPoint]:
    homes = dict(_OWN)
    for home in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda found: (found.name, _package(found))):
        if home.name in homes:
            owners = f"{_package(homes[home.name])} and {_package(home)}"
            raise ValueError(f"two methods are called {home.name!r}, those of {owners}; uninstall or rename one")
        homes[home.name] = home
    return homes


def _package(home: metadata.EntryPoint) -> str:
    return home.dist.name if home.dist is not None else "nmlab"
