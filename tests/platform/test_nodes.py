"""A cluster of three raylets, of which one is killed in mid-sweep and another one added."""

import os
import signal

import pytest
from launched import GRID, PLANNED, check_complete, kill_session, results, steps_so_far
from raylet_cluster import LOCAL, Raylets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # minutes only where others use the machine

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


def test_a_sweep_survives_the_loss_of_a_node_and_uses_the_one_that_is_added(new_nmlab, undisturbed):
    nmlab = new_nmlab()
    cluster = Raylets(nmlab.folder)
    try:
        for _ in range(2):
            cluster.add()
        arguments = ("sweep", "grid.yaml", "--json", "--no-report", "--address", cluster.address, *LONGER)
        process = nmlab.start(*arguments, **LOCAL)

        def wait_until(condition, what):
            return nmlab.wait_until(lambda: condition(nmlab.journal()), process=process, what=what, seconds=200)

        try:
            wait_until(lambda j: len(up(j)) == 2 and len(steps_so_far(j)) == 2, "both replicas were at work")
            before = nmlab.journal()
            assert {record["node_id"] for record in up(before).values()} == cluster.raylets.keys()
            victim = up(before)["replica-1"]
            os.kill(cluster.raylets[victim["node_id"]], signal.SIGKILL)
            wait_until(lambda j: "replica-1" not in up(j), "the replica was missed")
            cluster.add()
            wait_until(lambda j: "replica-1" in up(j), "the replica was back on the new node")
        except BaseException:
            kill_session(process.pid)
            raise
        printed = nmlab.finish(process)
    finally:
        cluster.close()
    planned = 2 * PLANNED - len(GRID["baselines"])
    assert printed["counts"] == {"finished": planned}
    check_complete(nmlab, planned=planned)
    assert printed["model_loads"] == 3
    newest = [r for r in nmlab.journal() if r["event"] == "replica"][-1]
    assert (newest["host"], newest["node_id"]) == ("replica-1", list(cluster.raylets)[-1])
    ours, theirs = results(nmlab), results(undisturbed[0])
    assert {key: ours[key] for key in theirs} == theirs
