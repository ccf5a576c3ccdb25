"""The memory that a trial records: measured by phase, counted by kind; measuring it changes no result."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.methods import registry
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.sizing.dry_run import FakeTensorModel
from nmlab.trials.testing import small_replica, small_spec, small_text
from nmlab.trials.trial import footprint
from nmlab.trials.trial.footprint import Footprint
from nmlab.trials.trial.run import run_trial

KINDS = {"memory/weight_bytes", "memory/masked_weight_bytes", "memory/state_bytes"}
STEPS = 6
TINY = {"steps": 3, "logit_magnitude": 5.0}


@pytest.fixture(scope="module")
def replica():
    return small_replica()


@pytest.fixture(scope="module")
def tiny():
    return ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))


@pytest.fixture(scope="module")
def dry_run():
    """Return the bytes of the activations of a step's forward and of an evaluation, as a dry run counts them."""
    model = FakeTensorModel(ModelSource(source="builtin:tiny"))
    return model.forward(batch=2, length=16).peak_bytes, model.evaluation(batch=4, length=25).peak_bytes


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture
def run(replica, text, tmp_path, listener):
    """Run a trial of a few steps: run("susi"); returns its result and its events."""

    def go(method, *, on=replica, folder="trial", steps=STEPS, cadence=None, cancel_at=None, **hyperparameters):
        given = {"steps": steps, **hyperparameters} if registry.get(method).learned else {}
        spec = small_spec(method, text=text, hyperparameters=given, cadence=cadence or {})
        events = listener(cancel_at=cancel_at)
        return run_trial(spec, replica=on, folder=tmp_path / folder, events=events), events

    return go


@pytest.fixture(scope="module")
def watched(replica, text, tmp_path_factory, listener):
    """Run a trial of a method that logs every step, once; returns its result, its events and its folder."""
    made = {}

    def go(method):
        if method not in made:
            given = {"steps": STEPS} if registry.get(method).learned else {}
            spec = small_spec(method, text=text, hyperparameters=given, cadence={"log_every": 1})
            folder, events = tmp_path_factory.mktemp(method), listener()
            made[method] = run_trial(spec, replica=replica, folder=folder, events=events), events, folder
        return made[method]

    return go


def _memory(result):
    return {name: value for name, value in result.metrics.items() if name.startswith("memory/")}


def _counted(result):
    return {name: value for name, value in _memory(result).items() if "peak" not in name}


@pytest.mark.parametrize("method", registry.names())
def test_every_method_records_phases_and_kinds(watched, replica, method):
    result, _, _ = watched(method)
    recorded, is_learned = _memory(result), registry.get(method).learned
    phases = {"start", "evaluation", *(["learning"] if is_learned else [])}
    assert {name.split("/")[1].split("_")[0] for name in recorded if name.endswith("_peak_bytes")} == phases
    assert recorded.keys() >= KINDS | {"memory/evaluation_activation_bytes"}
    assert ("memory/learning_activation_bytes" in recorded) is is_learned
    assert recorded["memory/weight_bytes"] == sum(p.nbytes for p in replica.frozen.module.parameters()) + sum(
        b.nbytes for b in replica.frozen.module.buffers()
    )
    highest = max(value for name, value in recorded.items() if name.endswith("_peak_bytes"))
    assert recorded["memory/peak_bytes"] >= highest
    held = recorded["memory/weight_bytes"] + recorded["memory/state_bytes"]
    assert all(value > held for name, value in recorded.items() if name.endswith("_peak_bytes"))
    assert all(value > 0 for name, value in recorded.items() if name.endswith("_activation_bytes"))


def test_a_loaded_model_knows_what_loading_took(run, tiny):
    result, _ = run("magnitude", on=tiny)
    assert result.metrics["memory/load_peak_bytes"] > result.metrics["memory/weight_bytes"]
    assert result.metrics["memory/peak_bytes"] >= result.metrics["memory/load_peak_bytes"]


@pytest.mark.parametrize("method", ["maskpro", "susi", "maskllm", "proxsparse"])
def test_counts_are_the_same_every_time(watched, run, method):
    (first, _, _), (second, _) = watched(method), run(method)
    assert _counted(first) == _counted(second)


@pytest.mark.slow
def test_slots_beside_each_other_are_counted_apart(replica, text_file, tmp_path, listener):
    """Threads on one frozen model: each trial counts its own tensors, and records the peak of the process."""
    cases = [("maskpro", 0), ("susi", 0), ("maskpro", 1), ("susi", 1)]

    def trial(case):
        method, number = case
        spec = small_spec(method, text=text_file, hyperparameters={"steps": 20})
        return run_trial(spec, replica=replica, folder=tmp_path / f"{method}-{number}", events=listener())

    with ThreadPoolExecutor(4) as slots:
        beside = list(slots.map(trial, cases))
    alone = {method: _counted(trial((method, "alone"))) for method in ("maskpro", "susi")}
    for (method, _), result in zip(cases, beside, strict=True):
        assert _counted(result) == alone[method]
        assert result.metrics["memory/peak_bytes"] >= result.metrics["memory/learning_peak_bytes"]


@pytest.mark.parametrize(("method", "above"), [("maskpro", 1.01), ("susi", 1.25)])
def test_activations_are_those_of_the_dry_run(run, tiny, dry_run, method, above):
    """A step allocates little beside the activations of its forward and, in gradient methods, of its backward."""
    result, _ = run(method, on=tiny, **(TINY if method == "maskpro" else {"steps": 3}))
    forward, evaluation = dry_run
    assert result.metrics["memory/evaluation_activation_bytes"] == pytest.approx(evaluation, rel=0.1)
    if method == "maskpro":
        assert forward <= result.metrics["memory/learning_activation_bytes"] <= max(above * forward, forward + 4e6)
    else:
        assert result.metrics["memory/learning_activation_bytes"] > forward


@pytest.mark.parametrize("method", registry.names())
def test_measuring_changes_no_result(watched, run, tmp_path, monkeypatch, method):
    result, recorded, folder = watched(method)
    monkeypatch.setattr(Footprint, "watch", lambda *_: nullcontext())
    plain, unwatched = run(method, folder="plain", cadence={"log_every": 1})
    assert not any("activation" in name for name in plain.metrics)
    assert recorded.curve() == unwatched.curve()
    with np.load(folder / "evaluation.npz") as one, np.load(tmp_path / "plain" / "evaluation.npz") as two:
        assert all(np.array_equal(one[name], two[name]) for name in one.files)
    if registry.get(method).sparse:
        one, two = (load_bundle(place / "mask.safetensors")[0] for place in (folder, tmp_path / "plain"))
        assert all(torch.equal(mask, two[name]) for name, mask in one.items())
    assert result.status == plain.status == "finished"


@pytest.mark.parametrize("cancel_at", [1, 5])
def test_a_resumed_trial_keeps_its_earlier_peaks(run, cancel_at):
    cadence = {"log_every": 1}
    stopped, _ = run("maskpro", cadence=cadence, cancel_at=cancel_at)
    assert stopped.status == "stopped"
    resumed, _ = run("maskpro", cadence=cadence)
    whole, _ = run("maskpro", cadence=cadence, folder="whole")
    assert _counted(resumed).keys() == _counted(whole).keys()
    activations = [result.metrics["memory/learning_activation_bytes"] for result in (resumed, whole)]
    assert activations[0] == pytest.approx(activations[1], rel=0.05)


def test_a_single_step_is_measured_too(run):
    result, _ = run("maskpro", steps=1)
    assert result.metrics["memory/learning_activation_bytes"] > 0


def test_phases_are_left_out_where_the_system_cannot_tell(run, monkeypatch):
    monkeypatch.setattr(footprint, "can_measure_peaks", lambda device: False)
    result, _ = run("maskpro")
    assert not {f"memory/{phase}_peak_bytes" for phase in ("start", "learning", "evaluation")} & result.metrics.keys()
    assert KINDS | {"memory/peak_bytes", "memory/learning_activation_bytes"} <= result.metrics.keys()
