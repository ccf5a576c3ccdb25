"""Trials whose masks are evaluated by slots of several nodes."""

import json
import os
import signal

import pytest
import yaml
from launched import GRID, kill_session, results, steps_so_far
from raylet_cluster import LOCAL, Raylets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # minutes only where others use the machine

STUDY = {
    **GRID,
    "fixed": {**GRID["fixed"], "steps": 120, "masks_per_step": 4},
    "space": {"alpha": {"grid": [0.9]}},
    "baselines": ["dense"],
    "seeds": [0],
}


def start(new_nmlab, replica, *arguments):
    nmlab = new_nmlab()
    (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump({**STUDY, "replica": replica}))
    return nmlab, nmlab.start("sweep", "grid.yaml", "--json", "--no-report", *arguments, **LOCAL)


@pytest.fixture(scope="module")
def alone(new_nmlab):
    nmlab, process = start(new_nmlab, {"count": 1, "slots": 1})
    nmlab.finish(process)
    return results(nmlab)


@pytest.mark.parametrize(("nodes", "slots", "stages"), [(2, 2, 2), (3, 4, 1)])
def test_masks_are_shared_by_nodes_and_the_trial_is_as_if_run_alone(new_nmlab, alone, nodes, slots, stages):
    """One worker of a peer is killed while the trial runs; with pipeline stages, it is the last stage."""
    nmlab = new_nmlab()
    cluster = Raylets(nmlab.folder)
    try:
        for _ in range(nodes):
            cluster.add()
        shared = {"count": slots, "mask_parallel": slots, "pipeline_stages": stages}
        replica = {**shared, "resources": {"cpus": 0.5}}
        nmlab, process = start(new_nmlab, replica, "--address", cluster.address)
        try:
            helping = nmlab.wait_until(lambda: peer_at_work(nmlab), process=process, what="peers to join")
            os.kill(helping["shards"][-1]["pid"], signal.SIGKILL)
        except BaseException:
            kill_session(process.pid)
            raise
        printed = nmlab.finish(process)
    finally:
        cluster.close()
    assert printed["counts"] == {"finished": 2}
    assert results(nmlab) == alone
    (ended,) = [record for record in nmlab.journal() if record["event"] == "party ended"]
    assert 0 < ended["exchanged_bytes"] / STUDY["fixed"]["steps"] < 2000, json.dumps(ended)


def peer_at_work(nmlab):
    """Return the record of a replica that follows a trial of more than 20 steps so far, or None."""
    journal = nmlab.journal()
    up = {record["host"]: record for record in journal if record["event"] == "replica"}
    helping = [record["host"] for record in journal if record["event"] == "participant"]
    return up[helping[-1]] if helping and max(steps_so_far(journal).values(), default=0) > 20 else None
