"""A study whose masks two replicas of two pipeline stages share, the faults of its launch, and what must come of it."""

import itertools
import json
import os
import signal

from nmlab.platform.testing.real_launches.launched import GRID, session, steps_so_far
from nmlab.platform.testing.real_launches.raylet_cluster import PLACE

STEPS = 100
RESOURCES = {"cpus": 0.5, "custom": {PLACE: 1}}
SHARED = {
    **GRID,
    "fixed": {**GRID["fixed"], "steps": STEPS, "masks_per_step": 4},
    "space": {"alpha": {"grid": [0.9]}},
    "baselines": ["dense", {"method": "susi", "steps": 20}],
    "seeds": [0],
    "replica": {"count": 2, "mask_parallel": 2, "pipeline_stages": 2, "resources": RESOURCES},
}


def disturb(nmlab, process, *, leader):
    """Kill the coordinator, the last stage of a peer, and that of the leader, whose trial another replica leads.

    The coordinator is a process of the session that ``leader`` leads.
    """
    helping = nmlab.wait_until(
        lambda: peer_at_work(nmlab, after=10), process=process, what="a peer to join", seconds=600
    )
    assert [stage["layers"] for stage in helping["shards"]] == [7, 7]
    (coordinator,) = [pid for pid, title in session(leader).items() if "MaskParallelCoord" in title]
    os.kill(coordinator, signal.SIGKILL)
    again = nmlab.wait_until(
        lambda: peer_at_work(nmlab, after=40), process=process, what="a peer to join again", seconds=600
    )
    os.kill(again["shards"][-1]["pid"], signal.SIGKILL)
    leading = nmlab.wait_until(
        lambda: leader_at_work(nmlab, after=60), process=process, what="the trial to go on", seconds=600
    )
    os.kill(leading["shards"][-1]["pid"], signal.SIGKILL)


def check_journal(journal):
    """Check that the leader's trial was leased again, both stages were started again, and little was exchanged."""
    assert 2 in [record["attempt"] for record in journal if record["event"] == "leased"]
    by_host = {}
    for record in journal:
        if record["event"] == "replica":
            by_host.setdefault(record["host"], []).append({stage["pid"] for stage in record["shards"]})
    assert any(len(started) > 1 for started in by_host.values())
    assert all(not one & other for started in by_host.values() for one, other in itertools.pairwise(started))
    ended = [record for record in journal if record["event"] == "party ended"]
    assert ended
    assert all(0 < record["exchanged_bytes"] / STEPS < 2000 for record in ended), json.dumps(ended)


def shared_step(journal):
    """Return the newest step of the trial whose masks are shared; 0 while there is none."""
    shared = {r["key"] for r in journal if r["event"] == "trial" and r["spec"]["hyperparameters"].get("masks_per_step")}
    return max((step for key, step in steps_so_far(journal).items() if key in shared), default=0)


def peer_at_work(nmlab, *, after):
    """Return the record of a replica that follows the shared trial, once that is past a step; else None."""
    journal = nmlab.journal()
    up = {record["host"]: record for record in journal if record["event"] == "replica"}
    lost = {record["host"] for record in journal if record["event"] == "replica lost"}
    helping = [record["host"] for record in journal if record["event"] == "participant"]
    at_work = helping and helping[-1] not in lost and shared_step(journal) > after
    return up[helping[-1]] if at_work else None


def leader_at_work(nmlab, *, after):
    """Return the record of the replica that has the lease of the shared trial, once that is past a step; else None."""
    journal = nmlab.journal()
    up = {record["host"]: record for record in journal if record["event"] == "replica"}
    leased = {record["key"]: record["host"] for record in journal if record["event"] == "leased"}
    running = [leased[key] for key in steps_so_far(journal) if key in leased]
    return up[running[0]] if running and shared_step(journal) > after else None
