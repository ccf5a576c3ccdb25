"""Clusters that cannot be joined: one line each. What is wrong with real nodes is in ``test_nodes``."""

import socket
from pathlib import Path

import pytest

from nmlab.platform.cluster import connection_check
from nmlab.platform.cluster.connection_check import check_reachable
from nmlab.platform.cluster.nodes import _problem
from nmlab.platform.cluster.proof import COMPARED
from nmlab.platform.cluster.session import cluster
from nmlab.platform.process.shutdown import started_processes

pytestmark = pytest.mark.ray


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


def test_a_ray_that_does_not_start_in_time_is_started_again(monkeypatch, caplog):
    """As on a busy machine: its processes are there, and do not answer within Ray's own 30 s."""
    import ray
    from ray._private import services

    answers = services.get_node
    asked = []

    def answers_at_the_second_start(*given):
        asked.append(given)
        if len(asked) == 1:
            raise Exception("The current node timed out during startup.")
        return answers(*given)

    before = {process.pid for process in started_processes()}
    monkeypatch.setattr(services, "get_node", answers_at_the_second_start)
    with cluster():
        assert ray.get(ray.put(1)) == 1
        own = [process.name() for process in started_processes() if process.pid not in before]
    assert own.count("raylet") == 1, "that of the first start must have ended"
    assert "Ray did not start (The current node timed out during startup.)" in caplog.text
    assert not [process for process in started_processes() if process.pid not in before]


def test_a_ray_that_never_starts_is_given_up_in_one_line(monkeypatch):
    import ray

    def init(**given):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(ValueError, match=r"no Ray starts on this machine in 2 attempts: The current .* The load"),
        cluster(),
    ):
        pass
    assert not ray.is_initialized()


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
