"""Clusters that are joined, and those that cannot be: one line each, exit code 2, soon, and nothing half-started.

The cluster is a real one with token authentication, started in a session of its own, by which its processes are known.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from launched import kill_session
from studies import small

from nmlab.platform.cluster import connection_check
from nmlab.platform.cluster.connection_check import check_reachable
from nmlab.platform.cluster.nodes import _problem
from nmlab.platform.cluster.proof import COMPARED
from nmlab.platform.cluster.session import cluster

pytestmark = pytest.mark.ray

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[3]
TOKEN = "5" * 64
STUDY = small(seeds=[0])


@pytest.mark.parametrize(
    "address", ["head", "head:", ":6379", "head:port", "head:99999", "ray://head:10001", "http://head:8265"]
)
def test_an_address_of_another_form(address):
    with pytest.raises(ValueError, match=r"address .*: expected HOST:PORT of its head node"):
        check_reachable(address)


def test_an_address_without_an_answer():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ValueError, match=rf"no Ray cluster answers at '127.0.0.1:{port}': Connection refused"):
            check_reachable(f"127.0.0.1:{port}")


def test_a_host_that_is_not_there():
    with pytest.raises(ValueError, match=r"no Ray cluster answers at 'no-such-host.invalid:6379'"):
        check_reachable("no-such-host.invalid:6379")


def test_a_listener_that_is_no_ray(monkeypatch):
    monkeypatch.setattr(connection_check, "ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ValueError, match="is not a Ray cluster"):
        check_reachable(f"127.0.0.1:{silent.getsockname()[1]}")


def test_a_sweep_without_an_address_keeps_to_itself(monkeypatch):
    """Even where a cluster runs on the same machine, or an environment names one."""
    import ray

    asked = []
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "init", lambda **given: asked.append(given))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with cluster():
        pass
    assert asked[0]["address"] == "local"


FOUND = {"nmlab": "0.1.0", "code": "0a0b0c0d", "torch": "2.13.0", "transformers": "5.23.0", "python": "3.11"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, ""),
        ({"code": ""}, "nmlab is not installed; expected nmlab 0.1.0 (code 0a0b0c0d)"),
        ({"code": "ffffffff"}, "nmlab's code ffffffff, expected 0a0b0c0d; install the same version there"),
        ({"nmlab": "0.0.9"}, "nmlab 0.0.9, expected 0.1.0"),
        ({"torch": "2.9.1"}, "torch 2.9.1, expected 2.13.0"),
        ({"transformers": ""}, "transformers is not installed, expected 5.23.0"),
        ({"missing": ["/models/a/config.json"]}, "cannot read '/models/a/config.json'; put it where all nodes"),
        ({"missing": ["/results/.mark"]}, "cannot read the results folder '/results'"),
    ],
)
def test_problems_of_a_node(answer, message):
    assert set(FOUND) == set(COMPARED)
    problem = _problem({"missing": [], **FOUND, **answer}, FOUND, Path("/results/.mark"))
    assert problem.startswith(message)
    assert bool(problem) is bool(message)


def test_a_node_that_does_not_answer():
    assert _problem(TimeoutError("too late"), FOUND, Path("x")) == "does not answer: TimeoutError: too late"


def start_ray(*arguments, folder, **environment):
    """Start a node of a cluster in a session of its own."""
    given = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, **environment}
    common = ("--block", "--disable-usage-stats", "--object-store-memory", "100000000", "--num-cpus", "2")
    with (folder / f"ray-{time.monotonic_ns()}.txt").open("w") as out:
        return subprocess.Popen(
            [BIN / "ray", "start", *arguments, *common],
            env=given,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process):
    kill_session(process.pid)
    process.wait()


@contextmanager
def another_node(head, *arguments, folder, **environment):
    """A second node of a cluster, which is known to be gone when the block has ended."""
    process = start_ray(f"--address={head}", *arguments, folder=folder, **environment)
    try:
        wait_for_nodes(head, 2)
        yield
    finally:
        end(process)
    wait_for_nodes(head, 1)


NODES = """
import sys, time
from contextlib import suppress
from ray._raylet import GcsClient
address, count, deadline = sys.argv[1], int(sys.argv[2]), time.monotonic() + 90
while time.monotonic() < deadline:
    with suppress(Exception):  # it is not up yet
        nodes = GcsClient(address=address).get_all_node_info(timeout=5)
        if sum(node.state == 0 for node in nodes.values()) == count:
            sys.exit()
    time.sleep(0.5)
sys.exit(f"{count} nodes did not come up at {address}")
"""


def wait_for_nodes(address, count):
    """Wait until so many nodes are there, in a process of its own, whose environment has the token."""
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    subprocess.run([sys.executable, "-c", NODES, address, str(count)], env=environment, check=True)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """The address of a cluster of one node that asks for a token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("ray")
    with tempfile.TemporaryDirectory(prefix="nm", dir="/tmp") as ours:  # short, because sockets lie in it
        process = start_ray(
            *("--head", "--port", str(port), "--include-dashboard", "false", "--temp-dir", ours), folder=folder
        )
        try:
            wait_for_nodes(f"127.0.0.1:{port}", 1)
            yield f"127.0.0.1:{port}"
        finally:
            end(process)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return tmp_path


def sweep(folder, address, *arguments, token=TOKEN, mode="token"):
    """Run a sweep on the cluster."""
    environment = {**os.environ, "RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": token}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(
        [BIN / "nmlab", "sweep", "study.yaml", "--address", address, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def refused(folder, address, *arguments, token=TOKEN, mode="token"):
    """Run a sweep on the cluster that must be refused; return what it said, in one line, leaving nothing behind."""
    done = sweep(folder, address, *arguments, token=token, mode=mode)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert "Traceback" not in done.stderr
    assert {path.name for path in folder.iterdir()} <= {"study.yaml", "nmlab.db"}, "an empty store at most"
    return line


@pytest.mark.slow
def test_a_wrong_token(head, folder):
    """What is said of a process without a token is in ``test_joining``."""
    line = refused(folder, head, token="6" * 64)
    reason = "this process has another token; set RAY_AUTH_MODE=token"
    assert f"the Ray cluster at '{head}' refuses the connection: {reason}" in line


@pytest.mark.slow
def test_slots_that_fit_on_no_node(head, folder):
    line = refused(folder, head, "--set", "replica.slots=1000000")
    assert "no node has room for a replica" in line
    assert "replica.slots = 1000000: weights 239 kB" in line


@pytest.mark.slow
def test_a_node_with_another_nmlab_and_one_without(head, folder, tmp_path_factory):
    """Two more nodes of the same machine, which find another package under our name."""
    place = tmp_path_factory.mktemp("others")
    changed, none = place / "changed", place / "none"
    shutil.copytree(ROOT / "src" / "nmlab", changed / "nmlab", ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "nmlab" / "trials" / "errors.py").open("a") as file:
        file.write("\n# changed on this node\n")
    (none / "nmlab").mkdir(parents=True)
    (none / "nmlab" / "__init__.py").touch()
    for path, message in ((changed, "nmlab's code"), (none, "nmlab is not installed; expected nmlab")):
        with another_node(head, folder=place, PYTHONPATH=str(path)):
            line = refused(folder, head)
        assert line.startswith("nmlab: node ")
        assert message in line


@pytest.mark.slow
def test_replicas_go_where_their_resources_are(head, folder, tmp_path):
    """A node of another kind joins; both replicas ask for what it alone has, and no replica starts on the other."""
    wanted = "replica={count: 2, resources: {cpus: 0.5, custom: {large: 1}}}"
    with another_node(head, "--resources", '{"large": 2}', folder=tmp_path):
        done = sweep(folder, head, "--no-report", "--json", "--set", wanted)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert record["counts"] == {"finished": 3}
    status = json.loads((Path(record["launch"]) / "status.json").read_text())
    places = {replica["node_id"] for replica in status["replicas"].values()}
    assert len(status["replicas"]) == 2
    assert len(places) == 1, "both on the node that has the resource"
