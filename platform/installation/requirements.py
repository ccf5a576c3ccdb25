"""What nmlab's metadata requires of Python and of other packages, compared with what is installed."""

import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement

Verdict = Literal["ok", "warning", "failed"]

FIRST_PYTHON, LAST_PYTHON = (3, 11), (3, 13)
"""The releases of Python with which nmlab is tested; newer ones are not refused."""
EXTRAS = {
    "gpu": "the engine triton",
    "cluster": "nmlab submit",
    "tasks": "evaluation on tasks",
    "onnx": "export to ONNX",
    "notebook": "running notebooks",
}
"""The optional groups of packages for users, each with what needs it. Those for developers are not listed."""


def check_python(version: tuple[int, int, int] = sys.version_info[:3]) -> tuple[Verdict, str]:
    """Return whether a release of Python is one that nmlab runs on."""
    text = ".".join(map(str, version))
    if version < FIRST_PYTHON:
        return "failed", f"{text}; nmlab needs {_release(FIRST_PYTHON)} or newer"
    if version[:2] > LAST_PYTHON:
        return "warning", f"{text}; nmlab is tested with {_release(FIRST_PYTHON)} to {_release(LAST_PYTHON)}"
    return "ok", text


def _release(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def check_requirements() -> tuple[Verdict, str]:
    """Return whether the installed packages are of the versions that nmlab requires.

    A package that `nmlab submit` sent to a cluster has no metadata to compare with; that is a warning.
    """
    try:
        problems = unmet("nmlab")
    except metadata.PackageNotFoundError:
        return "warning", "nmlab runs from a folder and is not installed; versions of its dependencies are not compared"
    return ("failed", "; ".join(problems)) if problems else ("ok", "every package is of a version that nmlab accepts")


def check_extras() -> tuple[Verdict, str]:
    """Return which extras are installed, and what those that are missing would be for."""
    try:
        missing = {extra: problems for extra in EXTRAS if (problems := unmet("nmlab", extra=extra))}
    except metadata.PackageNotFoundError:
        return "warning", "not known: nmlab runs from a folder and is not installed"
    there = ", ".join(extra for extra in EXTRAS if extra not in missing) or "none"
    absent = ", ".join(f"{extra} ({EXTRAS[extra]})" for extra in missing)
    return "ok", f"{there}; not installed: {absent}" if absent else there


def unmet(package: str, *, extra: str = "") -> list[str]:
    """Return what a package requires that is not installed, or not in a version it accepts.

    Parameters
    ----------
    package
        An installed package.
    extra
        One of its extras, to look at what that adds; "" for what it always requires.

    Returns
    -------
        One text each, for example "optuna 4.8.0, expected >=5.0,<6".

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If ``package`` itself is not installed.
    """
    return [problem for requirement in required(package, extra=extra) for problem in _problems(requirement)]


def required(package: str, *, extra: str = "") -> Iterator[Requirement]:
    """Yield what an installed package requires on this machine: what an extra adds, or with "" what it always needs."""
    for text in metadata.requires(package) or []:
        requirement = Requirement(text)
        always, wanted = (requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in ("", extra))
        if wanted and (not extra or not always):
            yield requirement


def _problems(requirement: Requirement) -> list[str]:
    """Return what of a requirement is not met: the version, then the packages that its own extras ask for."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return [f"{requirement.name} is not installed, expected {requirement.specifier or 'any version'}"]
    if not requirement.specifier.contains(found, prereleases=True):
        return [f"{requirement.name} {found}, expected {requirement.specifier}"]
    return [problem for extra in sorted(requirement.extras) for problem in unmet(requirement.name, extra=extra)]
