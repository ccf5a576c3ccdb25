"""Every result of a trial has its cost; and the evaluation of the initial mask is kept apart from later ones."""

import json
import math

import pytest
import safetensors
import safetensors.torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError, account_of
from nmlab.trials.trial.checkpoint import CheckpointFolder, saved_values
from nmlab.trials.trial.run import run_trial

START = 4  # forwards of the initial mask on the four minibatches, which every trial of maskpro is charged
COSTS = {f"cost/{part}{name}" for part in ("", "initial_", "spent_") for name in ("forwards", "tokens", "seconds")}
MEMORY = {"memory/peak_bytes", "memory/state_bytes", "memory/weight_bytes"}
EVERY_STEP = {"log_every": 1, "checkpoint_every": 2}


@pytest.fixture
def run(replica, tmp_path, listener):
    """Run a trial in this test's folder; returns its result and its events."""

    def go(spec, *, on=None, **behaviour):
        events = listener(**behaviour)
        return run_trial(spec, replica=on or replica, folder=tmp_path / "trial", events=events), events

    return go


@pytest.fixture
def failing(random_model, freeze):
    """Return a function that makes a replica context whose model fails, with an error, at a forward."""

    def make(error, *, at):
        module, passed = random_model("llama"), []

        def hook(*_):
            passed.append(1)
            if len(passed) > at:
                raise error

        module.register_forward_hook(hook)
        return ReplicaContext(freeze(module))

    return make


def test_a_trial_that_diverges_has_its_cost_and_no_evaluation_but_the_initial_one(run, make_spec, failing):
    """Four forwards of the start, two of its evaluation, and five steps; then the loss is NaN."""
    result, events = run(make_spec(cadence=EVERY_STEP), on=failing(DivergedError("loss"), at=START + 2 + 5))
    assert (result.status, result.step) == ("diverged", 5)
    assert result.metrics.keys() >= COSTS | MEMORY | {"time/step_s"}
    assert result.metrics["cost/forwards"] == START + 5
    assert result.metrics["cost/tokens"] == (START + 5) * 2 * 16
    assert result.metrics["cost/seconds"] > 0
    recorded = {name for _, values in events.points for name in values}
    assert "initial/perplexity" in recorded
    assert not {name for name in (*recorded, *result.metrics) if name.startswith("eval/")}


def test_a_trial_that_diverges_at_its_first_step_has_no_time_of_a_step(run, make_spec, random_model, freeze):
    module = random_model("llama")
    module.model.norm.weight.data[0] = math.nan
    result, _ = run(make_spec(), on=ReplicaContext(freeze(module)))
    assert (result.status, result.step) == ("diverged", 0)
    assert result.metrics["cost/forwards"] == START + 1
    assert not [name for name in result.metrics if name.startswith("time/")]


def test_a_stopped_trial_has_its_cost_so_far(run, make_spec):
    """As a scheduler that prunes it, an interrupted launch or a time limit stops it."""
    result, events = run(make_spec(cadence=EVERY_STEP), cancel_at=5)
    assert (result.status, result.step) == ("stopped", 5)
    assert result.metrics.keys() >= COSTS | MEMORY | {"time/step_s", "memory/learning_peak_bytes"}
    assert result.metrics["cost/forwards"] == START + 5
    assert all(not name.startswith("cost/") for _, values in events.points for name in values), "in the result alone"
    resumed, _ = run(make_spec(cadence=EVERY_STEP))
    assert resumed.metrics["cost/forwards"] == START + 12
    assert resumed.metrics["cost/seconds"] > result.metrics["cost/seconds"]


@pytest.mark.parametrize(("at", "forwards"), [(0, 0), (START + 2 + 6, START)])
def test_a_trial_that_runs_out_of_memory_has_its_cost(run, make_spec, failing, at, forwards):
    """At its start and while it learns; it is tried again with half the micro-batch, and fails again."""
    result, _ = run(make_spec(cadence=EVERY_STEP), on=failing(MemoryError("no room"), at=at))
    assert result.status == "oom"
    assert result.metrics.keys() >= {"cost/forwards", "cost/tokens", "cost/seconds"}
    assert result.metrics["cost/forwards"] >= forwards


def test_an_exception_carries_what_the_trial_had_cost(run, make_spec, failing, tmp_path):
    spec = make_spec(cadence=EVERY_STEP)
    with pytest.raises(RuntimeError, match="no such kernel") as raised:
        run(spec, on=failing(RuntimeError("no such kernel"), at=START + 2 + 5))
    account = account_of(raised.value)
    assert 0 < account.step < 12
    assert account.metrics["cost/forwards"] == START + account.step
    assert account.metrics.keys() >= COSTS | MEMORY


def test_ctrl_c_carries_what_the_trial_had_cost(run, make_spec):
    with pytest.raises(KeyboardInterrupt) as raised:
        run(make_spec(cadence=EVERY_STEP), crash_at=3)
    account = account_of(raised.value)
    assert (account.step, account.metrics["cost/forwards"]) == (3, START + 3)


def test_a_trial_that_is_refused_has_cost_nothing(run, make_spec):
    with pytest.raises(ValueError, match="unknown method") as refused:
        run(make_spec().model_copy(update={"method": "mskpro"}))
    account = account_of(refused.value)
    assert account.metrics.keys() >= COSTS
    assert (account.step, set(account.metrics.values())) == (0, {0.0})
    assert account_of(ValueError("from elsewhere")).metrics == {}


def test_a_checkpoint_gives_the_cost_without_being_read_whole(run, make_spec, tmp_path):
    spec = make_spec(cadence=EVERY_STEP)
    run(spec, cancel_at=5)
    step, values = saved_values(tmp_path / "trial", key=spec.key)
    assert (step, values["cost"]["forwards"]) == (5, START + 5)
    assert saved_values(tmp_path / "trial", key="another trial") is None
    assert saved_values(tmp_path / "nowhere", key=spec.key) is None
    newest = max((tmp_path / "trial").glob("checkpoint-*"))
    newest.write_bytes(b"damaged")
    assert saved_values(tmp_path / "trial", key=spec.key)[0] == 4
    assert newest.exists(), "reading the values changes nothing"


def test_for_a_model_in_stages_the_first_one_gives_the_cost(tmp_path):
    for stage, forwards in ((0, 7), (1, 8)):
        folder = CheckpointFolder(tmp_path / f"shard-{stage}-of-2", key="k")
        folder.save(3, tensors={}, values={"cost": {"forwards": forwards}})
    assert saved_values(tmp_path, key="k") == (3, {"cost": {"forwards": 7}})


def _as_earlier_versions_wrote(path):
    """Rename the initial evaluation in a checkpoint to ``eval/*``."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    values = json.loads(header["values"])
    start = values["history"]["0"]
    assert start.keys() == {f"initial/{name}" for name in ("perplexity", "token_perplexity", "word_perplexity")}
    values["history"]["0"] = {name.replace("initial/", "eval/"): value for name, value in start.items()}
    folder = CheckpointFolder(path.parent, key=header["key"])
    folder.save(int(header["step"]), tensors=tensors, values=values)


def test_a_checkpoint_of_an_earlier_version_goes_on_as_one_of_this(run, make_spec, tmp_path):
    spec = make_spec(cadence={"log_every": 1, "evaluate_every": 3})
    run(spec, cancel_at=7)
    (path,) = (tmp_path / "trial").glob("checkpoint-*")
    _as_earlier_versions_wrote(path)
    resumed, events = run(spec)
    assert resumed.status == "finished"
    curve = events.curve()
    assert curve[0].keys() == {"initial/perplexity", "initial/token_perplexity", "initial/word_perplexity"}
    assert [step for step, values in curve.items() if "eval/perplexity" in values] == [3, 6, 9, 12]
