"""What pyproject.toml, constraints.txt, the Makefile and docs/install.md say of installing agrees."""

import ast
import fnmatch
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sources import PACKAGES, ROOT, statements

from nmlab.platform.installation import requirements, torch_build

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = ("3.11", "3.12", "3.13")
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
CALLERS = {"pytest", "ipython"}
"""Imported where the caller has them: pytest by the conformance suites in `testing/`, which tests of another package
subclass, IPython by the progress that is shown in a notebook, whose cells it runs."""


def environment(python: str) -> dict[str, str]:
    """Return what markers are compared with: this machine with another release of Python."""
    return {**default_environment(), "python_version": python, "python_full_version": f"{python}.0", "extra": ""}


def declared() -> list[Requirement]:
    """Return all dependencies, extras included, but for nmlab's own extras within `dev`."""
    texts = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "nmlab"]


def test_releases_of_python_are_the_same_everywhere():
    prefix = "Programming Language :: Python :: 3."
    classified = tuple(line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith(prefix))
    assert classified == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    first, last = (".".join(map(str, v)) for v in (requirements.FIRST_PYTHON, requirements.LAST_PYTHON))
    assert (first, last) == (PYTHONS[0], PYTHONS[-1])
    assert PYPROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in page


def test_the_version_is_in_one_place():
    """Whatever else shows it asks the metadata."""
    assert metadata.version("nmlab") == PROJECT["version"]
    assert "dynamic" not in PROJECT
    for path in (ROOT / "src").rglob("*.py"):
        assert PROJECT["version"] not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_hold_one_version_of_each_dependency_within_its_bounds(python):
    applying = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment(python))]
    versions = {canonicalize_name(pin.name): str(pin.specifier) for pin in applying}
    assert len(versions) == len(applying), "two versions of one package"
    wrong = {}
    for requirement in declared():
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            version = versions.get(canonicalize_name(requirement.name), "none")
            if not version.startswith("==") or not requirement.specifier.contains(version[2:], prereleases=True):
                wrong[str(requirement)] = version
    assert not wrong, "run `make lock`"


def test_what_the_tests_run_with_is_what_the_constraints_name():
    """On a machine that `make` has set up; torch apart, whose build and release `make` keeps."""
    found = {canonicalize_name(item.name): item.version for item in metadata.distributions()}
    torch = {"torch", *(canonicalize_name(Requirement(text).name) for text in metadata.requires("torch"))}
    pins = {
        canonicalize_name(pin.name): pin.specifier
        for pin in PINS
        if pin.marker is None or pin.marker.evaluate({"extra": ""})
    }
    needed = {canonicalize_name(requirement.name) for requirement in declared()} - torch
    different = {name: found[name] for name in needed & set(found) if not pins[name].contains(found[name])}
    assert not different


def test_extras_that_pages_and_messages_name_exist():
    paths = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for package in PACKAGES:
        paths += (ROOT / package).rglob("*.py")
    named = {
        extra.strip()
        for path in paths
        for group in re.findall(r"(?:nmlab|'\.|\"\.)\[([\w, ]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    assert named >= {"gpu", "cluster", "tasks", "onnx", "notebook"}
    assert named - set(EXTRAS) == set()


def test_every_extra_is_on_the_page_and_those_for_users_are_checked_by_doctor():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert {extra for extra in EXTRAS if f"`{extra}`" not in page} == set()
    assert set(EXTRAS) - set(requirements.EXTRAS) == {"docs", "release", "dev"}
    assert set(requirements.EXTRAS) <= set(EXTRAS)


def imported(path: Path) -> set[str]:
    """Return the top-level modules that a file imports, wherever in it."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"nmlab"}


def test_every_package_that_nmlab_imports_is_declared():
    """Not one that another package happens to bring, which its next release may not."""
    brought_by = metadata.packages_distributions()
    names = {canonicalize_name(requirement.name) for requirement in declared()} | {"pydantic-core"} | CALLERS
    missing = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for module in imported(path):
                if not {canonicalize_name(name) for name in brought_by.get(module, [module])} & names:
                    missing[module] = str(path.relative_to(ROOT))
    assert not missing


def test_every_data_file_goes_into_the_wheel():
    """Files that git knows in the packages are Python, Markdown (left out), or match a pattern of package data."""
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["*"]
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [Path(line).name for line in listed.stdout.splitlines() if not line.endswith((".py", ".md"))]
    assert {Path(name).suffix for name in names} >= {".yaml", ".css", ".js", ".csv", ".safetensors", ".jinja", ".json"}
    assert [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []
    assert all(list(ROOT.glob(pattern)) for pattern in PROJECT["license-files"])


def test_the_builds_of_torch_on_the_page_are_those_that_doctor_names():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (release,) = {str(pin.specifier).removeprefix("==") for pin in PINS if pin.name == "torch"}
    lines = re.findall(r"torch==(\S+)\+(\w+) --index-url (\S+)/(\w+)", page)
    assert lines
    for version, build, index, folder in lines:
        assert (version, build, index) == (release, folder, torch_build.INDEX)
        assert build in torch_build.BUILDS.values()
    assert all(f"`{build}`" in page for build in torch_build.BUILDS.values())


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = "demo test quick soak lint types docs check lock wheels lowest release-check clean".split()  # noqa: SIM905


def test_every_target_is_a_command_and_not_a_file():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(TARGETS) <= set(phony.split())
    defined = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(phony.split()) == defined


@pytest.mark.parametrize("page", ["README.md", "docs/install.md", "release/README.md", "docs/guide.md"])
def test_targets_that_pages_name_exist(page):
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert {name for name in named if not re.search(rf"^{name}:", MAKEFILE, re.MULTILINE)} == set()


def test_tests_of_the_lower_bounds_exist():
    (listed,) = re.findall(r"^LOWEST_TESTS := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    paths = listed.replace("\\\n", " ").split()
    assert paths
    assert [path for path in paths if not (ROOT / path.partition("::")[0]).exists()] == []


def test_a_bound_is_a_release_that_a_resolver_can_be_asked_for():
    """`make lowest` installs the oldest release of each: every direct dependency says which that is."""
    unbounded = [
        requirement.name
        for requirement in declared()
        if not any(part.operator == ">=" for part in requirement.specifier)
    ]
    assert unbounded == []
