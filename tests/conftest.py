"""Settings of every test: one torch thread, because more of them compete for two cores, and no Hugging Face hub."""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_order import RayInOneProcess, place_of
from filelock import FileLock
from hypothesis import settings

HERE = Path(__file__).parent

# A slow machine fails no test; see CONTRIBUTING.md.
settings.register_profile("nmlab", deadline=None)
settings.load_profile("nmlab")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage while test files are imported: next to nothing of them is."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files, see `file_order`."""
    items.sort(key=lambda item: place_of(item.path))


def pytest_collection_finish() -> None:
    """Prepare a process that runs tests; one that only hands them out collects none and gets no torch."""
    import torch

    torch.set_num_threads(1)
    # What is loaded by now stays: the collector of cycles would look through half a million objects again and again.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _what_is_loaded_stays() -> None:
    """Exempt from garbage collection what earlier files have loaded: every trial begins with a collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log) -> RayInOneProcess | None:
    return RayInOneProcess(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """Let files be written without a wait until a disk has them, as far as no test is about it.

    Tests kill processes, never the machine. A search of six configurations waits fifty times otherwise.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Return a function that makes the contents of a folder once for all processes of this test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, work: Callable[[Path], None]) -> Path:
        folder, done = shared / f"shared-{name}", shared / f"shared-{name}.done"
        with FileLock(shared / f"shared-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed at it
                folder.mkdir()
                work(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def outside_method(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of ``tests/outside_method`` as pip installs it; put it on the path to use it."""
    return _installed(HERE / "outside_method", tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="session")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of ``tests/paced`` as pip installs it."""
    return _installed(HERE / "paced", tmp_path_factory.mktemp("paced"))


def _installed(source: Path, folder: Path) -> Path:
    """Copy the module of a package into a folder, with what says its name, version and entry points."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    shutil.copy(source / f"{name}.py", folder)
    info = folder / f"{name}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata)
    lines = [
        f"[{group}]\n" + "".join(f"{method} = {place}\n" for method, place in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder
