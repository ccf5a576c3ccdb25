"""A study whose masks two replicas of two pipeline stages share, the faults of its launch, and what must come of it."""

import itertools
import json
import os
import signal

import numpy as np
from safetensors.numpy import load_file

from nmlab.platform.planning.study_plan import plan_study
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.testing.real_launches.launched import GRID, session, steps_so_far
from nmlab.platform.testing.real_launches.raylet_cluster import PLACE
from nmlab.search_spaces import loader
from nmlab.search_spaces.space import grid_points
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.declarations import has_phase
from nmlab.trials.contract.metrics import Phase
from nmlab.trials.models import FrozenModel
from nmlab.trials.trial.run import run_trial

STEPS = 160
RESOURCES = {"cpus": 0.5, "custom": {PLACE: 1}}
SHARED = {
    **GRID,
    "fixed": {**GRID["fixed"], "steps": STEPS, "masks_per_step": 4},
    "space": {"alpha": {"grid": [0.9]}},
    "baselines": ["dense", {"method": "susi", "steps": 20}],
    "seeds": [0],
    "replica": {"count": 2, "mask_parallel": 2, "pipeline_stages": 2, "resources": RESOURCES},
}
KEPT = ("eval/", "initial/", "train/")


class Listener:
    """Keeps the values that a trial records, by name and step."""

    def __init__(self):
        self.values = {}

    def metrics(self, step, values):
        self.values |= {(name, step): value for name, value in values.items() if name.startswith(KEPT)}

    def cancelled(self):
        return False


def run_alone(path, folder):
    """Run every trial of a study in this process, one after the other; return what `results` does of a launch."""
    study = loader.load(path)
    plan = plan_study(study)
    replica, found = ReplicaContext(FrozenModel.load(study.model)), {}
    for spec in (*plan.baselines, *(trial_spec(study, point, seed=0) for point in grid_points(study))):
        listener, place = Listener(), folder / spec.key
        ended = run_trial(spec, replica=replica, folder=place, events=listener)
        last = {
            (n, ended.step): v for n, v in ended.metrics.items() if n.startswith(KEPT) and has_phase((n,), Phase.END)
        }
        found[spec.key] = last | listener.values
        if (place / "mask.safetensors").is_file():
            found[spec.key]["mask"] = {n: bits.tolist() for n, bits in load_file(place / "mask.safetensors").items()}
    return found


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


def same(ours, theirs):
    """Return whether two launches have the same values, bit for bit."""
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert ours[key].keys() == values.keys()
        assert all(np.array_equal(ours[key][place], value) for place, value in values.items() if place != "mask")
    return {key: values.get("mask") for key, values in ours.items()} == {
        key: values.get("mask") for key, values in theirs.items()
    }


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
