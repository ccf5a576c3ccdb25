"""A cluster of three raylets: one is killed in mid-sweep, one is added, one sees nothing of the launch's folder."""

import os
import signal

import pytest
from launched import GRID, PLANNED, check_complete, keys, kill_session, results, steps_so_far
from raylet_cluster import LOCAL, Raylets, can_hide_folders

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


@pytest.mark.skipif(not can_hide_folders(), reason="no mount namespaces here")
def test_a_late_node_without_the_folder_a_killed_node_a_killed_driver_and_a_resume(new_nmlab, undisturbed):
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
            cluster.add_blind(nmlab.folder / "results", nmlab.folder / "blind.txt")
            victim = up(nmlab.journal())["replica-1"]
            os.kill(cluster.raylets[victim["node_id"]], signal.SIGKILL)
            (refused,) = wait_until(
                lambda j: [r for r in j if r["event"] == "replica refused"], "the replica was refused on the late node"
            )
            trouble = nmlab.wait_until(lambda: nmlab.status()["trouble"], process=process, what="it is in view")
            cluster.add()
            wait_until(lambda j: "replica-1" in up(j), "the replica was on the node that sees the folder")
            ended = keys(nmlab.journal(), "ended")
            wait_until(lambda j: len(keys(j, "ended")) > len(ended), "another trial had ended")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        finally:
            kill_session(process.pid)
        before = nmlab.journal()
        printed = nmlab.finish(nmlab.start("resume", "--json", "--no-report", **LOCAL))
    finally:
        cluster.close()
    where = f"{refused['host']} on node "
    assert refused["reason"].startswith(where)
    assert "cannot read the launch's folder" in refused["reason"]
    (blind,) = refused["nodes"]
    assert trouble == {f"node {blind}": f"refused: {refused['reason']}"}
    assert blind not in cluster.raylets
    planned = 2 * PLANNED - len(GRID["baselines"])
    assert printed["counts"] == {"finished": planned}
    check_complete(nmlab, planned=planned, frozen=("verified", "unverified"))
    journal = nmlab.journal()
    assert blind not in {record["node_id"] for record in journal if record["event"] == "replica"}
    again = [record for record in journal[len(before) :] if record["event"] == "leased"]
    assert not set(keys(before, "ended")) & set(keys(again, "leased"))
    ours, theirs = results(nmlab), results(undisturbed[0])
    assert {key: ours[key] for key in theirs} == theirs
    for key in keys(journal, "ended"):
        assert (nmlab.launch / "trials" / key / "trial.json").is_file()
