"""Map the four root folders into the import package ``nmlab``; everything else is in pyproject.toml.

The folders carry no ``__init__.py`` of their own: a root-level ``platform`` package would shadow the
standard library's module of that name and break every import of Ray and pytest.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOMS = ("platform", "trials", "search_spaces", "reports")
ROOT = Path(__file__).parent


def packages_of(room: str) -> list[str]:
    """Return the import names of one folder and of everything below it that holds Python or data."""
    below = find_namespace_packages(where=str(ROOT / room), exclude=["*__pycache__*"])
    return [f"nmlab.{room}", *(f"nmlab.{room}.{name}" for name in below)]


setup(
    packages=[package for room in ROOMS for package in packages_of(room)],
    package_dir={f"nmlab.{room}": room for room in ROOMS},
)
