"""What replicas show before they are given work, and what becomes of those that are refused."""

import threading

import pytest
from dispatchers import FACTS, Replica, drained

from nmlab.platform.cluster.proof import expected_proof, prove, why_refused
from nmlab.platform.dispatch.messages import GivenUp, RefusedEnd, ReplicaProcess
from nmlab.platform.dispatch.state import DispatchState
from nmlab.platform.replicas.replica import Replicas, has_room

HERE = {"node": "10.0.0.1", "node_id": "n1"}


@pytest.fixture
def shown(tmp_path):
    """The proof of a worker that sees the folder, and what is expected."""
    with expected_proof(tmp_path) as (nonce, expected):
        yield {**prove(nonce), **HERE}, expected


def test_a_worker_that_sees_the_folder_and_runs_the_same_code(shown):
    proof, expected = shown
    assert why_refused([proof, proof], expected) == {}
    assert len(expected["nonce"]) == 32


def test_the_nonce_is_another_one_each_time_and_goes_with_the_driver(tmp_path):
    (tmp_path / ".nonce-of-a-killed-process").touch()
    with expected_proof(tmp_path) as (first, one):
        assert list(tmp_path.iterdir()) == [first]
    with expected_proof(tmp_path) as (second, other):
        assert one["nonce"] != other["nonce"]
        assert first != second
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nonce": ""}, "cannot read the launch's folder '{folder}'; expected a folder that all nodes share"),
        ({"nonce": "f" * 32}, "cannot read the launch's folder '{folder}'; expected a folder that all nodes share"),
        ({"code": "ffffffff"}, "nmlab's code ffffffff, expected {code}; install the same version there"),
        ({"code": ""}, "nmlab is not installed; expected nmlab {nmlab} (code {code})"),
        ({"torch": "1.0"}, "torch 1.0, expected {torch}; install the same version there"),
    ],
)
def test_what_is_refused_and_why(shown, changed, message):
    proof, expected = shown
    other = {**proof, **changed, "node": "10.0.0.2", "node_id": "n2"}
    assert why_refused([proof, other], expected) == {"n2": f"node 10.0.0.2: {message.format(**expected)}"}


def test_a_folder_that_is_not_there(tmp_path):
    assert prove(tmp_path / "none" / "nonce")["nonce"] == ""


def test_who_shows_nothing_is_refused(shown):
    (reason,) = why_refused([], shown[1], node_id="n3").values()
    assert reason.startswith("node n3: shows neither its code nor that it sees the launch's folder")


def test_a_replica_is_refused_before_it_loads_and_when_it_introduces_itself(shown):
    proof, expected = shown
    dispatcher = DispatchState(max_failures=3, generation=100, expected=expected)
    dispatcher.open({}, {}, [], now=0.0)
    assert dispatcher.admit("a", [proof]) == ""
    reason = dispatcher.admit("a", [{**proof, "nonce": ""}])
    assert reason.startswith("a on node 10.0.0.1: cannot read the launch's folder")
    a, b = ReplicaProcess("a", 1), ReplicaProcess("b", 1)
    dispatcher.introduce(b, {**FACTS, "node_id": "n2"}, [], now=0.0)
    assert dispatcher.receive(b, generation=100, running=[], messages=[], now=0.0) == GivenUp()
    assert dispatcher.take(b, slot=0, last_epoch=0, now=0.0) is None
    dispatcher.introduce(a, {**FACTS, "proofs": [proof]}, [], now=0.0)
    records = drained(dispatcher)
    assert [(r.event, r.host) for r in records] == [
        *(("replica refused", "a"), ("replica refused", "b"), ("replica", "a"))
    ]
    assert [r.nodes for r in records[:2]] == [["n1"], ["n2"]]
    assert "proofs" not in records[2].to_json(), "what a nonce is stays between the two"


@pytest.fixture
def finished():
    """A dispatcher with a trial that a replica has ended, which the driver has not acknowledged."""
    dispatcher = DispatchState(max_failures=1, generation=100)
    dispatcher.open({}, {}, [], now=0.0)
    replica = Replica(dispatcher, "a")
    dispatcher.submit("x", {"key": "x"})
    job = replica.take()
    replica.finish(job)
    return dispatcher, replica, job


def rejected(dispatcher, job, *, upto, now=0.0):
    dispatcher.reject(RefusedEnd(ReplicaProcess("a", 1), "x", job.epoch, "mask.safetensors cannot be read"), now=now)
    dispatcher.drain(upto)


def test_an_end_that_is_not_accepted_is_not_reported_and_the_trial_runs_elsewhere(finished):
    dispatcher, replica, job = finished
    rejected(dispatcher, job, upto=dispatcher.drain(0).upto)
    assert dispatcher.pull("x", -1).ended is None
    assert replica.send() == GivenUp(), "it shows its folder again as a new process"
    other = Replica(dispatcher, "b", now=10.0)
    again = other.take(now=10.0)
    assert again.key == "x"
    assert again.epoch > job.epoch
    other.finish(again)
    dispatcher.drain(dispatcher.drain(0).upto)
    assert dispatcher.pull("x", -1).ended["status"] == "finished"


def test_a_trial_whose_files_are_never_there_fails_in_the_end(finished):
    dispatcher, _, job = finished
    rejected(dispatcher, job, upto=dispatcher.drain(0).upto)
    other = Replica(dispatcher, "b", now=10.0)
    again = other.take(now=10.0)
    other.finish(again)
    dispatcher.reject(RefusedEnd(ReplicaProcess("b", 1), "x", again.epoch, "trial.json cannot be read"), now=11.0)
    end = drained(dispatcher, "ended")[-1]  # after those that the driver has refused
    assert end.result["status"] == "failed"
    assert end.result["reason"] == (
        "its artifacts could not be read 2 times; the last time, from b, trial.json cannot be read"
    )


def test_an_end_that_is_kept_or_of_another_lease_is_not_taken_back(finished):
    dispatcher, _, job = finished
    dispatcher.reject(RefusedEnd(ReplicaProcess("a", 1), "x", job.epoch + 1, "gone"), now=0.0)
    dispatcher.drain(dispatcher.drain(0).upto)
    dispatcher.reject(RefusedEnd(ReplicaProcess("a", 1), "x", job.epoch, "gone"), now=0.0)
    assert dispatcher.pull("x", -1).ended["status"] == "finished"


class Run:
    """A Train run that ends at once, or stays until it is called off."""

    def __init__(self, avoided, *, stays):
        self.avoided, self._stays, self._off = avoided, stays, threading.Event()

    def fit(self):
        if self._stays(self.avoided):
            self._off.wait(20)

    def call_off(self):
        self._off.set()


def replicas(*, stays, can_be_placed):
    made, lost = [], []

    def run(avoided):
        made.append(Run(avoided, stays=stays))
        return made[-1]

    limits = {"max_failures": 3, "lost": lambda *each: lost.append(each), "can_be_placed": can_be_placed}
    kept = Replicas({"a": run}, **limits)
    while not made:
        kept.join(["a"], timeout=0.01)
    return kept, made


def test_a_refused_replica_is_started_again_on_another_node():
    kept, made = replicas(stays=lambda avoided: "n1" in avoided, can_be_placed=lambda avoided: avoided == {"n1"})
    kept.refused("a", "a on node 10.0.0.1: no", ["n1"])
    while len(made) < 2:
        kept.join(["a"], timeout=0.01)
    assert [run.avoided for run in made] == [frozenset(), frozenset({"n1"})]
    assert kept.alive
    kept.call_off()
    assert not kept.alive


@pytest.mark.parametrize("nodes", [["n1"], []])
def test_a_refused_replica_that_has_no_other_place_is_given_up_with_the_reason(nodes):
    """Nor does one go elsewhere that was refused for another reason than its node."""
    kept, made = replicas(stays=lambda avoided: False, can_be_placed=lambda avoided: not nodes)
    kept.refused("a", "a on node 10.0.0.1: no", nodes)
    kept.join(["a"], timeout=20)
    assert not kept.alive
    assert len(made) == 1
    assert str(kept.errors["a"]) == "a on node 10.0.0.1: no"


def test_which_nodes_have_room():
    nodes = [
        {"Alive": True, "NodeID": "n1", "Resources": {"CPU": 4.0}},
        {"Alive": True, "NodeID": "n2", "Resources": {"CPU": 1.0}},
        {"Alive": False, "NodeID": "n3", "Resources": {"CPU": 9.0}},
    ]
    assert has_room({"CPU": 2.0}, nodes=nodes, avoided=())
    assert not has_room({"CPU": 2.0}, nodes=nodes, avoided={"n1"})
    assert has_room({"CPU": 1.0}, nodes=nodes, avoided={"n1"})
    assert not has_room({"CPU": 1.0, "GPU": 1.0}, nodes=nodes, avoided=())
