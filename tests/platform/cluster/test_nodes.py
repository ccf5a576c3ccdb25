"""A cluster of several raylets: a node is killed in mid-sweep, one is blind, one is added, the head is lost."""

import os
import signal

import pytest
from launched import keys, kill_session, results, steps_so_far
from raylet_cluster import LOCAL, Raylets, can_hide_folders

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]  # minutes only where others use the machine

LONGER = ("--set", "seeds=[0, 1, 2, 3]")  # the model must be loaded again before the last trial has ended


def up(journal):
    """Return the records of the replicas that are up."""
    found = {}
    for record in journal:
        if record["event"] == "replica":
            found[record["host"]] = record
        elif record["event"] == "replica lost":
            found.pop(record["host"], None)
    return found


@pytest.mark.skipif(not can_hide_folders(), reason="needs mount namespaces (unshare -Urm), which this system forbids")
def test_a_sweep_survives_a_killed_and_a_blind_node_uses_an_added_one_and_ends_without_a_head(new_nmlab, undisturbed):
    nmlab = new_nmlab()
    cluster = Raylets(nmlab.folder)
    (nmlab.folder / "results").mkdir()
    try:
        for _ in range(2):
            cluster.add()
        arguments = ("sweep", "grid.yaml", "--json", "--no-report", "--address", cluster.address, *LONGER)
        process = nmlab.start(*arguments, **LOCAL)

        def wait_until(condition, what):
            return nmlab.wait_until(lambda: condition(nmlab.journal()), process=process, what=what, seconds=200)

        try:
            wait_until(lambda j: len(up(j)) == 2 and len(steps_so_far(j)) == 2, "both replicas were at work")
            assert {record["node_id"] for record in up(nmlab.journal()).values()} == cluster.raylets.keys()
            cluster.add_blind(nmlab.folder / "results", nmlab.folder / "blind.txt")
            victim = up(nmlab.journal())["replica-1"]
            os.kill(cluster.raylets[victim["node_id"]], signal.SIGKILL)
            (refused,) = wait_until(
                lambda j: [r for r in j if r["event"] == "replica refused"], "the replica was refused on the late node"
            )
            trouble = nmlab.wait_until(lambda: nmlab.status()["trouble"], process=process, what="it is in view")
            cluster.add()
            wait_until(lambda j: "replica-1" in up(j), "the replica was on the node that sees the folder")
            moved_to = up(nmlab.journal())["replica-1"]["node_id"]
            ended = keys(nmlab.journal(), "ended")
            wait_until(lambda j: len(keys(j, "ended")) > len(ended), "another trial had ended")
            cluster.kill_head()
            assert process.wait(60) == 1, "it ends by itself when the head is gone"
        finally:
            kill_session(process.pid)
        said = (nmlab.folder / "err.txt").read_text()
    finally:
        cluster.close()
    assert f"the head of the Ray cluster, {cluster.address}, has taken no connection" in said
    assert f"nmlab resume {nmlab.launch.name}" in said
    check_refusal(refused, trouble, nodes=cluster.raylets)
    assert moved_to == list(cluster.raylets)[-1]
    journal = nmlab.journal()
    assert set(refused["nodes"]).isdisjoint(record["node_id"] for record in journal if record["event"] == "replica")
    finished = [r["key"] for r in journal if r["event"] == "ended" and r["result"]["status"] == "finished"]
    assert len(finished) == len(set(finished)) > len(ended)
    ours, theirs = results(nmlab), results(undisturbed[0])
    both = set(ended) & theirs.keys()
    assert both
    assert {key: ours[key] for key in both} == {key: theirs[key] for key in both}
    for key in finished:
        assert (nmlab.launch / "trials" / key / "trial.json").is_file()


def check_refusal(refused, trouble, *, nodes):
    """Check that the blind node, and it alone, was refused, and what is said of it."""
    assert refused["reason"].startswith(f"{refused['host']} on node ")
    assert "cannot read the launch's folder" in refused["reason"]
    (blind,) = refused["nodes"]
    assert trouble == {f"node {blind}": f"refused: {refused['reason']}"}
    assert blind not in nodes
