"""Plans of small studies, and MLflow stores that are copies of one migrated database."""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from computed_once import computed_once
from forked_commands import ForkedCommands, forked_commands
from forked_launches import ForkedNmlab
from mlflow.tracking import MlflowClient
from pipelines import run_pipeline  # noqa: F401 (a fixture)
from quick_stores import empty_store, quick_stores
from receivers import Receiver
from scripted import Scripted, run_script, scripted_in
from stores import LAUNCH, RECORD

from nmlab.platform.planning.study_plan import LaunchPlan, plan_study
from nmlab.platform.testing.real_launches.launched import GRID, Nmlab, replicas_up
from nmlab.platform.tracking.store import MlflowStore
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.log_levels import at_least
from nmlab.trials.methods import registry

SMALL = (
    "data.calibration={source: 'builtin:python-docs', samples: 4, sequence_length: 32, batch_size: 2}",
    "data.evaluation={source: 'builtin:python-docs', sequence_length: 32, windows: 4}",
    "fixed.steps=4",
    "data.validation=null",
    "search.samples=3",
    "search.confirm=null",
    "seeds=[0, 1]",
    "baselines=[dense, magnitude, wanda]",
)


def small_study(*overrides: str) -> Study:
    """Return the quickstart study on four short windows, unvalidated and unconfirmed, with further overrides."""
    return loader.load("quickstart", overrides=[*SMALL, *overrides])


@pytest.fixture(scope="session", autouse=True)
def _computed_once() -> Iterator[None]:
    with computed_once():
        yield


@cache
def _resolved() -> LaunchPlan:
    return plan_study(small_study())


@pytest.fixture(scope="session", autouse=True)
def _optuna_is_quiet() -> Iterator[None]:
    """Let Optuna log errors alone, as every call of a search does: each change of a level takes milliseconds."""
    with at_least(logging.ERROR, "optuna"):
        yield


@pytest.fixture(scope="session")
def plan_of() -> Callable[..., LaunchPlan]:
    """Return a builder of small plans; they share one look at model and text, which their overrides leave alone."""

    @cache
    def build(*overrides: str) -> LaunchPlan:
        study, facts = small_study(*overrides), _resolved().facts
        return LaunchPlan.unchecked(study, facts=facts)

    return build


@pytest.fixture(scope="session", autouse=True)
def _quick_stores() -> Iterator[None]:
    with quick_stores():
        yield


@pytest.fixture(scope="session")
def migrated_database(made_once: Callable[..., Path], _quick_stores: None) -> Path:
    """An empty MLflow database, which nobody changes."""
    return empty_store(made_once)


@pytest.fixture
def tracking_uri(migrated_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of the test's own, in its own folder, which is also where MLflow puts artifacts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(migrated_database, tmp_path / "nmlab.db")
    return f"sqlite:///{tmp_path / 'nmlab.db'}"


@pytest.fixture
def reopen(tracking_uri: str) -> Callable[[], MlflowStore]:
    """Return a function that opens the store of one launch as a new process would."""
    return lambda: MlflowStore("quickstart", launch=LAUNCH, uri=tracking_uri)


@pytest.fixture
def store(reopen: Callable[[], MlflowStore]) -> MlflowStore:
    """The store of a launch that has begun."""
    store = reopen()
    store.begin({"nmlab.planned": "3"}, {"method": "maskpro"})
    return store


@pytest.fixture
def masks_folder(tmp_path: Path) -> Path:
    """The folder of a launch's initial masks, with the file of the one that ``RECORD`` describes."""
    folder = tmp_path / "initial_masks"
    (folder / RECORD["key"]).mkdir(parents=True)
    (folder / RECORD["key"] / "mask.safetensors").write_bytes(b"bits")
    return folder


@pytest.fixture
def client(tracking_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri)


@pytest.fixture(scope="session")
def new_nmlab(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Callable[..., Nmlab]:
    """Return a function that makes a folder with the grid study and an empty store."""

    def make(study: str = GRID["name"], *, at: Path | None = None, commands: ForkedCommands | None = None) -> Nmlab:
        folder = tmp_path_factory.mktemp("sweep") if at is None else at
        shutil.copyfile(migrated_database, folder / "nmlab.db")
        (folder / "grid.yaml").write_text(yaml.safe_dump(GRID))
        return Nmlab(folder, study) if commands is None else ForkedNmlab(folder, study, commands)

    return make


@pytest.fixture(scope="session")
def commands() -> Iterator[ForkedCommands]:
    """What starts commands without their imports, which are most of what a command takes; see `forked_commands`."""
    with forked_commands() as commands:
        yield commands


@pytest.fixture
def paced_here(paced: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of ``tests/paced``, installed for this process too."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(paced))
        registry.rescan()
        yield
    registry.rescan()
    sys.modules.pop("nmlab_paced", None)


@pytest.fixture(scope="session")
def undisturbed(new_nmlab: Callable[..., Nmlab], made_once: Callable[..., Path]) -> tuple[Nmlab, dict[str, Any]]:
    """A finished sweep, and what it printed; one for all processes of this test run.

    Nothing of it is forked. While it ran, the variables of one of Ray's workers were written to a file.
    """

    def sweep(folder: Path) -> None:
        nmlab, receiver = new_nmlab(at=folder), Receiver(200)
        process = nmlab.start("sweep", "grid.yaml", "--json", NMLAB_NOTIFY=receiver.url)
        up = nmlab.wait_until(
            lambda: replicas_up(nmlab.journal()), process=process, what="a replica is up", seconds=600
        )
        worker = next(iter(up.values()))["pid"]
        shutil.copyfile(f"/proc/{worker}/environ", folder / "environ-of-a-worker")
        printed = nmlab.finish(process, seconds=600)
        receiver.close()
        (folder / "printed.json").write_text(json.dumps(printed))

    folder = made_once("undisturbed", sweep)
    return Nmlab(folder, GRID["name"]), json.loads((folder / "printed.json").read_text())


@pytest.fixture(scope="session")
def scripted(made_once: Callable[..., Path], outside_method: Path) -> Scripted:
    """What a script with a Ray of its own left, which ran once for all processes of this test run."""
    return scripted_in(made_once("scripted", lambda folder: run_script(folder, packages=outside_method)))
