"""Every trial of a study, run in this process one after the other: what a launch of it must give, whatever died."""

import numpy as np
from safetensors.numpy import load_file

from nmlab.platform.planning.study_plan import plan_study
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.search_spaces import loader
from nmlab.search_spaces.space import grid_points
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.declarations import has_phase
from nmlab.trials.contract.metrics import Phase
from nmlab.trials.models import FrozenModel
from nmlab.trials.trial.run import run_trial

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
    """Run every trial of a study, of which all points are a grid; return what `results` does of a launch."""
    study = loader.load(path)
    plan = plan_study(study)
    replica, found = ReplicaContext(FrozenModel.load(study.model)), {}
    searched = [trial_spec(study, point, seed=seed) for point in grid_points(study) for seed in study.seeds]
    for spec in (*plan.baselines, *searched):
        listener, place = Listener(), folder / spec.key
        ended = run_trial(spec, replica=replica, folder=place, events=listener)
        last = {
            (n, ended.step): v for n, v in ended.metrics.items() if n.startswith(KEPT) and has_phase((n,), Phase.END)
        }
        found[spec.key] = last | listener.values
        if (place / "mask.safetensors").is_file():
            found[spec.key]["mask"] = {n: bits.tolist() for n, bits in load_file(place / "mask.safetensors").items()}
    return found


def same_results(ours, theirs):
    """Return whether two launches have the same values, bit for bit."""
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert ours[key].keys() == values.keys()
        assert all(np.array_equal(ours[key][place], value) for place, value in values.items() if place != "mask")
    return {key: values.get("mask") for key, values in ours.items()} == {
        key: values.get("mask") for key, values in theirs.items()
    }
