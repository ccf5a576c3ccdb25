"""A trial that runs out of memory runs once more with half the micro-batch, and notes it."""

import json
import os
import subprocess
import sys

import pytest
import torch

from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing.small import small_replica, small_spec, small_text
from nmlab.trials.trial.run import run_trial

CRAMPED = """
import json, os, resource, sys
from pathlib import Path

import torch

from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.trial.run import run_trial
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.context.replica_context import ReplicaContext

class Quiet:
    def metrics(self, step, values): pass
    def cancelled(self): return False

def size():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmSize")) * 1024

def run(spec, name, room):
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_AS, (size() + room * 2**20, resource.RLIM_INFINITY) if room else unlimited)
    result = run_trial(spec, replica=replica, folder=folder / name, events=Quiet())
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
    return {
        "status": result.status, "key": result.key, "notes": result.notes, "reason": result.reason,
        "perplexity": result.metrics.get("eval/perplexity"), "forwards": result.metrics.get("cost/forwards"),
    }

def spec_of(method):
    return TrialSpec(
        method=method, pattern="2:4", seed=0, hyperparameters={"steps": 1}, model=replica.frozen.source,
        calibration=CalibrationSpec(
            source="builtin:python-docs", samples=256, sequence_length=64, batch_size=256
        ),
        evaluation=EvaluationSpec(source="builtin:python-docs", sequence_length=64, windows=8, batch_size=8),
    )

folder, rooms = Path(sys.argv[1]), json.loads(sys.argv[2])
torch.set_num_threads(1)
replica = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
replica.calibration(spec_of("maskpro").calibration)
for method in rooms:
    if os.fork() == 0:
        spec = spec_of(method)
        few = spec.calibration.model_copy(update={"batch_size": 1, "samples": 1})
        warm = run(spec.model_copy(update={"calibration": few}), f"{method}-warm", 0)
        assert warm["status"] == "finished"
        found = [run(spec, f"{method}-{room}", room) for room in rooms[method]]
        (folder / f"{method}.json").write_text(json.dumps(found))
        sys.exit()
    assert os.wait()[1] == 0, method
"""

ROOMS = {"maskpro": (72, 8, 0), "susi": (130, 8, 0)}
"""By how many megabytes the address space of a process may grow in each trial of a method; 0 is no limit."""


@pytest.fixture(scope="module")
def cramped(tmp_path_factory):
    """Run these trials, those of a method in a process of their own; return what became of them, by method."""
    folder = tmp_path_factory.mktemp("cramped")
    # Large blocks go back to the system when they are freed, so that what is left does not depend on chance.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", CRAMPED, str(folder), json.dumps(ROOMS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return {method: json.loads((folder / f"{method}.json").read_text()) for method in ROOMS}


@pytest.mark.slow
@pytest.mark.parametrize("method", ROOMS)
def test_real_lack_of_memory(cramped, method):
    """The address space is limited, so torch's own allocator fails where the whole batch does not fit."""
    tight, none, free = cramped[method]
    assert (free["status"], free["notes"]) == ("finished", [])
    assert tight["status"] == "finished", tight
    assert tight["notes"] == ["ran out of memory with micro-batches of 256, ran with 128 (windows: 4)"]
    assert (tight["key"], tight["forwards"]) == (free["key"], free["forwards"])
    assert tight["perplexity"] == pytest.approx(free["perplexity"], rel=1e-4)
    assert none["status"] == "oom"
    assert none["notes"] == tight["notes"], "it was tried with half the micro-batch, and that is noted"
    assert "memory" in none["reason"]


@pytest.fixture(scope="module")
def replica():
    return small_replica()


@pytest.fixture
def text(tmp_path):
    return small_text(tmp_path)


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_micro_batches_change_rounding_only(replica, micro_batch):
    """With seven sequences the last part is smaller than the others, and every prediction still counts the same."""
    tokens = torch.randint(0, 512, (7, 12), generator=torch.Generator().manual_seed(0))
    whole, parted = MaskedModel(replica.frozen), MaskedModel(replica.frozen)
    parted.micro_batch = micro_batch
    assert parted.loss(tokens) == pytest.approx(whole.loss(tokens), rel=1e-6)
    assert parted.loss(tokens) == parted.loss(tokens)
    torch.testing.assert_close(parted.token_losses(tokens), whole.token_losses(tokens))
    gradients = []
    for model in (whole, parted):
        leaves = {
            f"{layer.name}.weight": replica.frozen.module.get_parameter(f"{layer.name}.weight").detach().clone()
            for layer in replica.frozen.layers
        }
        for leaf in leaves.values():
            leaf.requires_grad_()
        loss = model.loss_under(leaves, tokens)
        (2 * loss).backward()
        assert float(loss.detach()) == pytest.approx(whole.loss(tokens), rel=1e-6)
        gradients.append([leaf.grad for leaf in leaves.values()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_weights_that_want_no_gradient_get_none(replica):
    tokens = torch.zeros(4, 6, dtype=torch.int64)
    model, name = MaskedModel(replica.frozen), f"{replica.frozen.layers[0].name}.weight"
    model.micro_batch = 2
    weight = replica.frozen.module.get_parameter(name).detach()
    assert not model.loss_under({name: weight}, tokens).requires_grad
    with torch.no_grad():
        assert model.loss_under({name: weight.clone().requires_grad_()}, tokens).requires_grad is False


class Quiet:
    def __init__(self):
        self.steps = []

    def metrics(self, step, values):
        self.steps.append(step)

    def cancelled(self):
        return False


def test_it_goes_on_from_its_checkpoint(replica, text, tmp_path, monkeypatch):
    """A trial that ran out of memory at its sixth step repeats none of the first five."""
    seen, step_of = [], MaskProRun.step

    def step(run, number):
        seen.append((number, run._model.micro_batch))
        if number == 5 and run._model.micro_batch is None:
            raise torch.OutOfMemoryError("no memory left")
        return step_of(run, number)

    monkeypatch.setattr(MaskProRun, "step", step)
    spec = small_spec("maskpro", text=text, hyperparameters={"steps": 8}, cadence={"checkpoint_every": 1})
    result = run_trial(spec, replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert result.status == "finished"
    assert seen == [(n, None) for n in range(6)] + [(n, 1) for n in range(5, 8)]


def test_micro_batches_that_are_asked_for(replica, text, tmp_path, monkeypatch):
    """They change neither the trial's key nor its result beyond rounding, and are halved where even they do not fit."""
    seen, step_of = [], MaskProRun.step

    def step(run, number):
        seen.append(run._model.micro_batch)
        if number == 3 and run._model.micro_batch == 2:
            raise torch.OutOfMemoryError("no memory left")
        return step_of(run, number)

    monkeypatch.setattr(MaskProRun, "step", step)
    whole = small_spec("maskpro", text=text, hyperparameters={"steps": 4}, cadence={"checkpoint_every": 1})
    four = whole.calibration.model_copy(update={"batch_size": 4, "samples": 4})
    whole = whole.model_copy(update={"calibration": four})
    parted = whole.model_copy(update={"calibration": four.model_copy(update={"micro_batch": 2})})
    assert (parted.key, parted.configuration) == (whole.key, whole.configuration)
    first, second = (run_trial(spec, replica=replica, folder=tmp_path / name, events=Quiet())
                     for name, spec in (("whole", whole), ("parted", parted)))  # fmt: skip
    assert seen == [None] * 4 + [2] * 4 + [1]
    assert second.notes[0].startswith("ran out of memory with micro-batches of 2, ran with 1")
    assert second.metrics["cost/forwards"] == first.metrics["cost/forwards"]
    assert second.metrics["eval/perplexity"] == pytest.approx(first.metrics["eval/perplexity"], rel=1e-4)


def test_one_sequence_cannot_be_halved(replica, text, tmp_path, monkeypatch):
    def step(run, number):
        raise MemoryError

    monkeypatch.setattr(MaskProRun, "step", step)
    spec = small_spec("maskpro", text=text, hyperparameters={"steps": 2})
    single = {"calibration": spec.calibration.model_copy(update={"batch_size": 1})}
    single["evaluation"] = spec.evaluation.model_copy(update={"batch_size": 1})
    result = run_trial(spec.model_copy(update=single), replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert (result.status, result.notes, result.reason) == ("oom", (), "MemoryError")


def test_a_trial_whose_worker_was_killed_for_memory_begins_smaller(replica, text, tmp_path):
    spec = small_spec("maskpro", text=text, hyperparameters={"steps": 2})
    because = "its worker was killed for memory with micro-batches of 2"
    result = run_trial(spec, replica=replica, folder=tmp_path, events=Quiet(), halved_batches_reason=because)
    assert result.status == "finished"
    assert result.notes == (f"{because}, ran with 1 (windows: 2)",)
