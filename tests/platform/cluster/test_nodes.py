"""Sweeps on a real cluster of several nodes that asks for a token, and clusters that a sweep may not use.

Refused are a wrong token, a study without room, and nodes with other code. Then replicas share the masks of a trial
while their processes are killed. At last a node is killed in mid-sweep, one is blind, one is added, the head is lost.
"""

import shutil
from pathlib import Path

import pytest
import ray
import yaml
from gates import PACED, STEPS, Gate
from run_alone import run_alone, same_results
from shared_masks import SHARED, check_journal, disturb

from nmlab.platform import cli
from nmlab.platform.cluster.nodes import check_nodes
from nmlab.platform.cluster.session import NAMESPACE, cluster
from nmlab.platform.compat.ray_core import reread_authentication
from nmlab.platform.dispatch.actor_calls import start_actor
from nmlab.platform.testing.real_launches.launched import (
    check_complete,
    keys,
    kill_session,
    replicas_up,
    results,
    steps_so_far,
)
from nmlab.platform.testing.real_launches.raylet_cluster import PLACE, TOKEN, Raylets, can_hide_folders
from nmlab.platform.testing.real_launches.studies import small
from nmlab.search_spaces import loader

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[3]
WAITING = {**PACED, "replica": {"count": 2, "slots": 1, "resources": {"custom": {PLACE: 1}}}}


@pytest.fixture(scope="module")
def gate(paced, tmp_path_factory):
    """How far trials that wait may go, on every node."""
    return Gate(tmp_path_factory.mktemp("gate") / "limits.json", packages=paced)


@pytest.fixture(scope="module")
def raylets(gate, tmp_path_factory):
    """A cluster of two nodes that have what replicas ask for, and a head that has CPUs alone."""
    raylets = Raylets(tmp_path_factory.mktemp("raylets"), **gate.environment)
    try:
        for _ in range(2):
            raylets.add()
        yield raylets
    finally:
        raylets.close()


@pytest.fixture
def use_token(monkeypatch):
    """Return a function that sets the token of this process."""

    def use(token=TOKEN["RAY_AUTH_TOKEN"]):
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        reread_authentication()

    yield use
    monkeypatch.undo()
    reread_authentication()


@pytest.fixture
def refused(raylets, tmp_path, monkeypatch, capsys):
    """Return a function that starts a sweep that must be refused, and returns the only line that it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(small(seeds=[0])))

    def sweep(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", "sweep", "study.yaml", "--address", raylets.address, *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert exit_.value.code == 2
        assert not ray.is_initialized()
        assert {path.name for path in tmp_path.iterdir()} <= {"study.yaml", "nmlab.db"}, "an empty store at most"
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return sweep


def test_a_wrong_token(raylets, refused, use_token):
    """What is said of a process without a token is in ``test_joining``."""
    use_token("6" * 64)
    reason = "this process has another token; set RAY_AUTH_MODE=token"
    assert f"the Ray cluster at '{raylets.address}' refuses the connection: {reason}" in refused()


def test_slots_that_fit_on_no_node(refused, use_token):
    use_token()
    line = refused("--set", "replica.slots=1000000")
    assert "no node has room for a replica" in line
    assert "replica.slots = 1000000: weights 239 kB" in line


def test_a_node_with_another_nmlab_and_one_without(raylets, use_token, tmp_path):
    """Two more nodes of the same machine, which find another package under our name."""
    use_token()
    changed, none = tmp_path / "changed", tmp_path / "none"
    shutil.copytree(ROOT / "src" / "nmlab", changed / "nmlab", ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "nmlab" / "trials" / "errors.py").open("a") as file:
        file.write("\n# changed on this node\n")
    (none / "nmlab").mkdir(parents=True)
    (none / "nmlab" / "__init__.py").touch()
    study = loader.load("quickstart")
    with cluster(raylets.address):
        assert check_nodes(study, results=tmp_path) == ""
        for path, message in ((changed, "nmlab's code"), (none, "nmlab is not installed; expected nmlab")):
            node = raylets.add(PYTHONPATH=str(path))
            with pytest.raises(ValueError, match=f"^node .*: {message}"):
                check_nodes(study, results=tmp_path)
            assert check_nodes(study, results=tmp_path, all_of_them=False).startswith("node ")
            raylets.remove(node)


def test_named_actors_are_beside_the_driver(raylets, use_token):
    """On any node, as Ray places actors without resources, each would be there once in three times."""

    class Placed:
        async def node(self):
            return ray.get_runtime_context().get_node_id()

    use_token()
    with cluster(raylets.address):
        started = [start_actor(Placed, name=f"placed-{number}", namespace=NAMESPACE)() for number in range(5)]
        nodes = {actor.ask(lambda placed: placed.node()) for actor in started}
        assert nodes == {ray.get_runtime_context().get_node_id()}
        assert nodes.isdisjoint(raylets.raylets)


def test_stages_of_several_nodes_share_the_masks_of_a_trial_which_is_as_if_run_alone(
    raylets, new_nmlab, commands, tmp_path
):
    """Killed: the coordinator, the last stage of a peer, and that of the leader, whose trial another replica leads."""
    nmlab = new_nmlab(commands=commands)
    (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump(SHARED))
    process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", "--address", raylets.address, **TOKEN)
    try:
        disturb(nmlab, process, leader=raylets.process.pid)
    except BaseException:
        kill_session(process.pid)
        raise
    printed = nmlab.finish(process, seconds=600)
    alone = run_alone(nmlab.folder / "grid.yaml", tmp_path / "alone")
    assert printed["counts"] == {"finished": len(alone)}
    check_complete(nmlab, trials=len(alone))
    assert same_results(results(nmlab), alone)
    check_journal(nmlab.journal())


@pytest.mark.skipif(not can_hide_folders(), reason="needs mount namespaces (unshare -Urm), which this system forbids")
def test_a_sweep_survives_a_killed_and_a_blind_node_uses_an_added_one_and_ends_without_a_head(
    raylets, new_nmlab, commands, gate, paced_here, tmp_path
):
    """Replicas start only where the resource is that they ask for, which the head has not."""
    nmlab = new_nmlab(commands=commands)
    (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump(WAITING))
    (nmlab.folder / "results").mkdir()
    gate.let({0: 60, 1: 60})
    where = ("--address", raylets.address)
    process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", *where, **TOKEN, **gate.environment)

    def wait_until(condition, what):
        return nmlab.wait_until(lambda: condition(nmlab.journal()), process=process, what=what, seconds=600)

    try:
        wait_until(lambda j: len(replicas_up(j)) == 2 and len(steps_so_far(j)) == 2, "both replicas were at work")
        assert {record["node_id"] for record in replicas_up(nmlab.journal()).values()} == raylets.raylets.keys()
        blind = raylets.add_blind(nmlab.folder / "results")
        raylets.kill(replicas_up(nmlab.journal())["replica-1"]["node_id"])
        (refused,) = wait_until(
            lambda j: [r for r in j if r["event"] == "replica refused"], "the replica was refused on the late node"
        )
        trouble = nmlab.wait_until(lambda: nmlab.status()["trouble"], process=process, what="it is in view")
        added = raylets.add()
        wait_until(lambda j: "replica-1" in replicas_up(j), "the replica was on the node that sees the folder")
        moved_to = replicas_up(nmlab.journal())["replica-1"]["node_id"]
        ended = keys(nmlab.journal(), "ended")
        gate.let({0: STEPS})
        wait_until(lambda j: len(keys(j, "ended")) > len(ended), "another trial had ended")
        raylets.kill_head()
        assert process.wait(60) == 1, "it ends by itself when the head is gone"
    finally:
        kill_session(process.pid)
    said = (nmlab.folder / "err.txt").read_text()
    assert f"the head of the Ray cluster, {raylets.address}, has taken no connection" in said
    assert f"nmlab resume {nmlab.launch.name}" in said
    check_refusal(refused, trouble, blind=blind)
    assert moved_to == added
    alone = run_alone(nmlab.folder / "grid.yaml", tmp_path / "alone")
    check_ended(nmlab, alone, before=ended, refused=refused["nodes"])


def check_refusal(refused, trouble, *, blind):
    """Check that the blind node, and it alone, was refused, and what is said of it."""
    assert refused["reason"].startswith(f"{refused['host']} on node ")
    assert "cannot read the launch's folder" in refused["reason"]
    assert refused["nodes"] == [blind]
    assert trouble == {f"node {blind}": f"refused: {refused['reason']}"}


def check_ended(nmlab, alone, *, before, refused):
    """Check that no trial ran on a refused node, and that each ended once, as if run alone.

    ``before`` are those that had ended when the node was added.
    """
    journal = nmlab.journal()
    assert set(refused).isdisjoint(record["node_id"] for record in journal if record["event"] == "replica")
    finished = [r["key"] for r in journal if r["event"] == "ended" and r["result"]["status"] == "finished"]
    assert len(finished) == len(set(finished)) > len(before)
    ours = results(nmlab)
    assert same_results({key: ours[key] for key in finished}, {key: alone[key] for key in finished})
    for key in finished:
        assert (nmlab.launch / "trials" / key / "trial.json").is_file()
