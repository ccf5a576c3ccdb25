"""Every private part of Ray and Optuna that nmlab uses, tried with the installed version."""

import inspect
import os
import re
import time
from pathlib import Path

import optuna
import pytest
import ray
from optuna.trial import TrialState
from ray._raylet import RAY_NODE_ID_KEY
from ray.core.generated.common_pb2 import ActorDeathCause, OomContext
from ray.exceptions import RayActorError
from ray.train import Result, RunConfig, ScalingConfig

from nmlab.platform.cluster.session import cluster
from nmlab.platform.compat import optuna_trials, ray_core, ray_train
from nmlab.platform.testing.real_launches.launched import wait_until

pytestmark = pytest.mark.ray

MODULES = (ray_core, ray_train, optuna_trials)
TABLE = b"nmlab test"


@pytest.fixture(scope="module")
def local_cluster():
    with cluster():
        yield ray.get_runtime_context().gcs_address


def node_id_label(address):
    assert ray_core.NODE_ID_LABEL == RAY_NODE_ID_KEY
    assert ray.nodes()[0]["Labels"][ray_core.NODE_ID_LABEL] == ray.nodes()[0]["NodeID"]


def ask_head(address):
    ray_core.ask_head(timeout=5)


def ask_server(address):
    ray_core.ask_server(address, timeout=5)


def at_loopback(address):
    """The session of this test is prepared after Ray was imported, so only this entry makes it use the loopback."""
    assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"


def session_folder(address):
    """The closed folder of the session holds Ray's own files, beside the token."""
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert list(token.parent.glob("*/session_*/sockets/*"))


def tokens(address):
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert ray_core.has_token()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_AUTH_TOKEN_PATH")
        patch.delenv("RAY_AUTH_TOKEN", raising=False)
        patch.setenv("HOME", "/nowhere")
        assert ray_core.has_token(), "Ray keeps no token any more, so nothing needs to be read again"
        ray_core.reread_authentication()
        assert not ray_core.has_token()
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        ray_core.reread_authentication()
        assert ray_core.has_token()
    ray_core.ask_server(address, timeout=5)


def death_of(address):
    actor = ray.remote(num_cpus=0)(Sleeper).remote()
    name = ray.get(actor.name.remote())
    assert ray_core.death_of(name).WhichOneof("context") is None
    ray.kill(actor)
    deadline = time.monotonic() + 20
    while ray_core.death_of(name).WhichOneof("context") is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not ray_core.killed_by_ray(ray_core.death_of(name))
    assert ray_core.death_of("ab" * 16) is None


class Sleeper:
    def name(self):
        return ray.get_runtime_context().get_actor_id()


def killed_by_ray(address):
    assert ray_core.killed_by_ray(ActorDeathCause(oom_context=OomContext()))
    assert not ray_core.killed_by_ray(ActorDeathCause())
    assert not ray_core.killed_by_ray(None)


def keys(address):
    assert ray_core.get_key(b"key", namespace=TABLE) is None
    ray_core.put_key(b"key", b"value", namespace=TABLE)
    assert ray_core.get_key(b"key", namespace=TABLE) == b"value"
    assert ray_core.get_key(b"key", namespace=b"another") is None
    ray_core.delete_key(b"key", namespace=TABLE)
    assert ray_core.get_key(b"key", namespace=TABLE) is None


def train_controller(address):
    """Train gives the start of the controller to a subclass, and takes what that returns for the result."""
    result = Result(metrics={"seen": True}, checkpoint=None, error=None, path="")
    run = run_of(lambda: None, attend=lambda start: result)
    assert run.fit().metrics == {"seen": True}


def run_of(work, *, attend):
    """Return a Train run of one worker that does `work`; `attend` is given what starts its controller."""

    class Run(ray_train.TrainerWithController):
        def run_controller(self, start):
            return attend(start)

    config = RunConfig(storage_path=str(Path.cwd() / "ray"))
    return Run(work, scaling_config=ScalingConfig(num_workers=1), run_config=config)


def controller(address):
    """A controller is an actor of Train's class, with the two methods that are called."""
    assert inspect.iscoroutinefunction(ray_train.TrainController.run)
    assert callable(ray_train.TrainController.get_result)


def open_trial(address):
    storage = optuna.storages.InMemoryStorage()
    asked = optuna.create_study(study_name="s", storage=storage)
    asked.ask()
    later = optuna.load_study(study_name="s", storage=storage)
    optuna_trials.open_trial(later, later.get_trials(deepcopy=False)[0]).report(0.5, 3)
    later.tell(0, state=TrialState.PRUNED)
    assert later.trials[0].intermediate_values == {3: 0.5}


CHECKS = {
    "NODE_ID_LABEL": node_id_label,
    "ask_head": ask_head,
    "ask_server": ask_server,
    "at_loopback": at_loopback,
    "death_of": death_of,
    "delete_key": keys,
    "get_key": keys,
    "has_token": tokens,
    "killed_by_ray": killed_by_ray,
    "put_key": keys,
    "reread_authentication": tokens,
    "session_folder": session_folder,
    "TrainerWithController": train_controller,
    "result_of": controller,
    "open_trial": open_trial,
}
NAMES = [name for module in MODULES for name in module.__all__]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_private_part_does_what_nmlab_takes_it_for(name, local_cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CHECKS[name](local_cluster)


@pytest.mark.parametrize("module", MODULES)
def test_every_private_part_says_why_and_in_which_version(module):
    text = Path(module.__file__).read_text("utf-8")
    entries = re.split(r"\n\n+(?=@contextmanager|[A-Z_]+ = |def |class )", text.partition("__all__")[2])
    heads = [entry.removeprefix("@contextmanager\n").splitlines()[0] for entry in entries if "Instead: " in entry]
    assert {name for name in module.__all__ if not any(name in head for head in heads)} == set()
    assert all(re.search(r"Seen: \w+ \d+\.\d+", entry) for entry in entries if "Instead: " in entry)
    assert set(module.__all__) <= set(CHECKS)


@pytest.mark.slow
def test_a_train_run_ends_with_a_result_and_its_controller_is_known(local_cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handles = []

    def attend(start):
        handles.append(start())
        return ray_train.result_of(handles[0])

    assert run_of(lambda: None, attend=attend).fit().error is None
    ray.kill(handles[0])


@pytest.mark.slow
def test_what_a_killed_controller_has_reserved_is_free_again(local_cluster, tmp_path, monkeypatch):
    """Ray alone would keep it until the job ends, and a local cluster has room for one more worker."""
    monkeypatch.chdir(tmp_path)
    at_work = tmp_path / "at work"
    wait_until(has_all_cpus, seconds=60, what="the end of earlier runs")

    def work():
        at_work.touch()
        time.sleep(600)

    def attend(start):
        controller = start()
        running = controller.run.remote()
        wait_until(at_work.exists, seconds=120, what="the worker")
        assert not has_all_cpus()
        ray.kill(controller)
        return ray.get(running)

    with pytest.raises(RayActorError):
        run_of(work, attend=attend).fit()
    wait_until(has_all_cpus, seconds=60, what="the room of the worker")


def has_all_cpus():
    return ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]
