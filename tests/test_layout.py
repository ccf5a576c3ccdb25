"""The layout: who imports whom, in which layers, which files must not be, and what no committed file may say."""

import ast
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from sources import PACKAGES, ROOT, statements

LONGEST_FILE = 400
FORBIDDEN = {
    "platform": (),
    "trials": ("nmlab.platform", "nmlab.search_spaces", "nmlab.reports", "ray", "mlflow", "optuna"),
    "search_spaces": ("nmlab.platform", "nmlab.trials", "nmlab.reports", "torch", "ray", "mlflow"),
    "reports": ("nmlab.platform", "nmlab.trials", "ray", "torch"),
}
LAYERS = {
    "platform": (
        {"compat", "installation", "records"},
        {"failures", "process", "pipeline", "search"},
        {"launches", "planning"},
        {"cluster", "new_study", "tracking"},
        {"dispatch", "run_one"},
        {"mask_parallel", "tuning"},
        {"replicas"},
        {"driver"},
        {"sweep"},
        {"api"},
        {"cli", "testing"},
    ),
    "trials": (
        {"compat"},
        {"contract", "files", "measure"},
        {"data", "masks", "parallel"},
        {"models"},
        {"engines"},
        {"context", "evaluation"},
        {"inputs"},
        {"methods"},
        {"method", "sizing", "trial"},
        {"export", "testing"},
    ),
    "search_spaces": ({"schema"}, {"reading", "space"}, {"json_schema", "loader"}),
    "reports": (
        {"read", "statistics"},
        {"values"},
        {"analysis"},
        {"figures", "tables"},
        {"narrative"},
        {"render"},
        {"compare", "report"},
        {"index", "scaling"},
    ),
}
"""The folders and loose modules of each package, from the lowest up: each imports from layers below its own."""
MOST_LOOSE_MODULES = 3
SHARED = "nmlab.trials.contract"
"""Plain values that every package may import; what it imports itself is told by the tests below."""
_MODULE = re.compile(r"[\"'](nmlab(?:\.\w+)+)[\"']")
# Put together from pieces, so that this file does not hold what it looks for.
_PLACES = tuple("".join(pieces).encode() for pieces in (("..", "/shared"), ("/wo", "rk/"), (".lib", "rary/")))


def imported(source: str, *, by_text: bool = True) -> Iterator[str]:
    """Yield every module that a source file names, wherever in it; text such as "nmlab.trials" counts as a name.

    `registry` imports methods by such texts, so an import by text is an import here.
    """
    yield from _imports(source)
    if by_text:
        yield from _MODULE.findall(source)


@cache
def _imports(source: str) -> list[str]:
    found = []
    for statement in statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, "relative imports hide which package is meant"
            found += [f"{statement.module}.{alias.name}" for alias in statement.names]
    return found


def forbidden_imports(source: str, *, forbidden: tuple[str, ...]) -> list[str]:
    """Return the names in a source file that lie in a forbidden module, those of the shared values apart."""
    return [name for name in imported(source) if _within(name, forbidden) and not _within(name, (SHARED,))]


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, in order; there must be some."""
    files = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    assert files, f"{folder} holds no Python file"
    return files


def committed() -> list[Path]:
    """Return every file that is, or would be, committed."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    """No package imports what stands above it, not even inside a function."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in python_files(ROOT / package)
        if (names := forbidden_imports(path.read_text(encoding="utf-8"), forbidden=FORBIDDEN[package]))
    }
    assert not found, f"{package}/ must not import {', '.join(FORBIDDEN[package])}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_within_a_package_run_down_its_layers(package):
    layer_of = {name: number for number, names in enumerate(LAYERS[package]) for name in names}
    up = {}
    for path in python_files(ROOT / package):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for name in imported(path.read_text(encoding="utf-8"), by_text=False):
            parts = name.split(".")
            is_beside = parts[:2] == ["nmlab", package] and len(parts) > 2 and parts[2] != own
            if is_beside and layer_of[parts[2]] >= layer_of[own]:
                up[str(path.relative_to(ROOT))] = name
    assert not up


def test_the_command_line_calls_the_api_and_nothing_below_it():
    """It parses and prints: of nmlab it imports the API, itself, the public names and the shared values."""
    allowed = ("nmlab.platform.api", "nmlab.platform.cli", SHARED)
    found = {
        str(path.relative_to(ROOT)): names
        for path in python_files(ROOT / "platform" / "cli")
        if (
            names := [
                name
                for name in imported(path.read_text(encoding="utf-8"))
                if _within(name, ("nmlab",)) and name != "nmlab" and not _within(name, allowed)
            ]
        )
    }
    assert not found


@pytest.mark.parametrize("package", PACKAGES)
def test_few_modules_lie_loose_at_the_top_of_a_package(package):
    """`trials/method.py` is the old place of `trials/methods/base.py`, kept for one release."""
    loose = [path.name for path in (ROOT / package).glob("*.py") if path.name != "method.py"]
    assert len(loose) <= MOST_LOOSE_MODULES, sorted(loose)


@pytest.mark.parametrize("package", ["trials", "search_spaces", "reports"])
def test_tests_import_no_package_above_the_one_they_test(package):
    packages = tuple(name for name in FORBIDDEN[package] if name.startswith("nmlab."))
    found = {
        str(path.relative_to(ROOT)): names
        for path in python_files(ROOT / "tests" / package)
        if (names := forbidden_imports(path.read_text(encoding="utf-8"), forbidden=packages))
    }
    assert not found, f"tests/{package} must not lean on {', '.join(packages)}"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import ray.tune", ["ray.tune"]),
        ("def f():\n    from ray import tune", ["ray.tune"]),
        ("def f():\n    import nmlab.platform as p", ["nmlab.platform"]),
        ("from nmlab import platform", ["nmlab.platform"]),
        ("import_module('nmlab.platform.dispatch.dispatcher')", ["nmlab.platform.dispatch.dispatcher"]),
        (
            "if TYPE_CHECKING:\n    from nmlab.platform.dispatch.dispatcher import Hub",
            ["nmlab.platform.dispatch.dispatcher.Hub"],
        ),
        ("import rays, nmlab.platforms", []),
        ("import nmlab.trials.contract.pattern\nimport torch", []),
        ("from nmlab.trials.contract.metrics import Metric\nimport nmlab.trials.contracts", ["nmlab.trials.contracts"]),
    ],
)
def test_the_walk_sees_late_and_hidden_imports(source, names):
    forbidden = ("ray", "nmlab.platform", "nmlab.trials.contract", "nmlab.trials.contracts")
    assert forbidden_imports(source, forbidden=forbidden) == names


LIGHT = (
    "nmlab.reports.report",
    "nmlab.search_spaces.loader",
    "nmlab.trials.contract.declarations",
    "nmlab.trials.methods.registry",
    "nmlab.platform.planning.study_plan",
    "nmlab.platform.driver.start_launch",
)


def test_light_packages_load_neither_torch_nor_ray_by_a_detour():
    """What they import imports neither of them either, so a report is written on a machine that has neither."""
    code = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    print(module, *{'torch', 'ray'} & {*sys.modules})"
    )
    assert _python("-c", code, *LIGHT).splitlines() == list(LIGHT)


def test_what_all_packages_share_leans_on_nothing_but_plain_values():
    allowed = {"pydantic", "pydantic_core", "nmlab", *sys.stdlib_module_names}
    found = {
        str(path.relative_to(ROOT)): outside
        for path in python_files(ROOT / "trials" / "contract")
        if (outside := [name for name in imported(path.read_text("utf-8")) if _is_outside(name, allowed)])
    }
    assert not found


def _is_outside(name: str, allowed: set[str]) -> bool:
    is_in_another_package = _within(name, tuple(f"nmlab.{package}" for package in PACKAGES)) and not _within(
        name, (SHARED,)
    )
    return name.partition(".")[0] not in allowed or is_in_another_package


def test_what_methods_record_is_found_without_torch():
    code = (
        "import sys; from nmlab.trials.contract.declarations import metric_of, own_metrics; "
        "own_metrics(); print(metric_of('train/flips').unit, 'torch' in sys.modules)"
    )
    assert _python("-c", code) == "groups False"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_has_an_init_file_at_its_top(package):
    assert not (ROOT / package / "__init__.py").exists(), (
        f"{package}/__init__.py must not exist: the four folders are linked into the package nmlab. With that file the "
        "root folder becomes a package of its own; platform/ would then shadow the standard library's module "
        "`platform` and break `import ray`, `import pytest` and every Ray worker started from the repository's root"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_below_a_package_is_a_package(package):
    """setuptools finds folders without the file too, but mypy, readers and pickles then disagree on their names."""
    folders = {path.parent for path in python_files(ROOT / package)} - {ROOT / package}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_standard_librarys_platform_wins_in_the_repository_root():
    place = _python("-c", "import platform; assert platform.system(); print(platform.__file__)")
    assert Path(place).parent == Path(sysconfig.get_path("stdlib"))


def test_the_four_packages_are_importable_from_anywhere(tmp_path):
    code = "import nmlab.platform, nmlab.trials, nmlab.search_spaces, nmlab.reports; print(nmlab.platform.__path__[0])"
    assert Path(_python("-c", code, folder=tmp_path)).resolve() == ROOT / "platform"


def test_the_version_is_the_installed_one_and_nothing_is_loaded_for_it():
    heavy = "{'torch', 'ray', 'mlflow', 'pandas'} & {*sys.modules}"
    code = f"import sys, nmlab; print(nmlab.__version__, {heavy})"
    assert _python("-c", code) == f"{metadata.version('nmlab')} set()"


def test_the_package_holds_links_to_the_packages_and_says_that_it_has_types():
    package = ROOT / "src" / "nmlab"
    assert {path.name: str(path.readlink()) for path in package.iterdir() if path.is_symlink()} == {
        package: f"../../{package}" for package in PACKAGES
    }
    assert (package / "py.typed").is_file()


def test_tests_mirror_the_packages():
    """Every folder of tests stands for a folder of a package, but for packages from outside and what tests share."""
    tests = ROOT / "tests"
    apart = {Path(), Path("outside_method"), Path("paced"), Path("support")}
    folders = {path.parent.relative_to(tests) for path in python_files(tests)} - apart
    assert {str(folder) for folder in folders if not (ROOT / folder).is_dir()} == set()
    assert {folder.parts[0] for folder in folders} == set(PACKAGES)


def test_test_files_have_no_init_and_names_of_their_own():
    files = [path for path in python_files(ROOT / "tests") if path.name != "conftest.py"]
    names = [path.name for path in files]
    assert "__init__.py" not in names
    assert sorted(names) == sorted(set(names))


def test_no_committed_file_names_the_place_it_was_built_in():
    found = {str(path.relative_to(ROOT)): place for path in committed() for place in _places(path)}
    assert not found


def test_no_python_file_is_longer_than_a_reader_can_bear():
    lengths = {
        str(path.relative_to(ROOT)): length
        for path in committed()
        if path.suffix == ".py" and (length := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not lengths, f"no Python file may have more than {LONGEST_FILE} lines"


def _places(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return [place for place in _PLACES if place in content]


def _python(*arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
