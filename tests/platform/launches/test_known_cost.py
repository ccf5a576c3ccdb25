"""The recorded cost of trials that ended without a report of their cost."""

import pytest

from nmlab.platform.launches.trial_ends import add_known_cost
from nmlab.platform.run_one import run_one
from nmlab.trials.contract.errors import attach_account
from nmlab.trials.measure.cost import Bill, Cost
from nmlab.trials.trial.checkpoint import CheckpointFolder


def lost(status="failed", **others):
    return {"key": "k", "status": status, "step": 0, "metrics": {}, "reason": "lost", **others}


def checkpoint(folder, *, step, forwards, key="k"):
    account = Cost(forwards=forwards, tokens=100 * forwards, shared=Bill(forwards=2))
    account.seconds["total"] = 0.5 * forwards
    CheckpointFolder(folder, key=key).save(step, tensors={}, values={"cost": account.state()})


def test_a_trial_that_no_replica_took_cost_nothing(tmp_path):
    result = lost("stopped")
    add_known_cost(result, folder=tmp_path, was_leased=False)
    assert result["metrics"]["cost/seconds"] == result["metrics"]["cost/spent_tokens"] == 0.0
    assert "facts" not in result


def test_of_a_trial_that_was_lost_its_newest_checkpoint_says_what_it_had_cost(tmp_path):
    for step in (10, 20):
        checkpoint(tmp_path, step=step, forwards=step)
    result = lost(notes=["a note"])
    add_known_cost(result, folder=tmp_path, was_leased=True)
    assert result["metrics"]["cost/forwards"] == 20
    assert result["metrics"]["cost/spent_forwards"] == 18
    assert result["metrics"]["cost/seconds"] == 10.0
    sums = {f"cost/{part}{name}" for part in ("", "initial_", "spent_") for name in vars(Bill())}
    assert result["metrics"].keys() == sums, "and nothing that a checkpoint does not say"
    assert (result["step"], result["facts"]) == (20, {"cost": "in part"})
    note = "its cost is that of its newest checkpoint, after step 20; later work is not in it"
    assert result["notes"] == ["a note", note]


def test_a_trial_that_was_lost_before_it_saved_anything_has_a_cost_that_is_marked_as_unknown(tmp_path):
    result = lost(facts={"depends_on_seed": "true"})
    add_known_cost(result, folder=tmp_path / "nothing there", was_leased=True)
    assert result["metrics"] == {}
    assert result["facts"] == {"depends_on_seed": "true", "cost": "unknown"}
    assert result["notes"] == ["what it cost is not known: it was lost before its first checkpoint"]


def test_a_reported_cost_is_left_alone(tmp_path):
    checkpoint(tmp_path, step=5, forwards=5)
    result = lost(metrics={"cost/forwards": 7.0})
    add_known_cost(result, folder=tmp_path, was_leased=True)
    assert result == lost(metrics={"cost/forwards": 7.0})


@pytest.mark.parametrize("error", [RuntimeError("no such kernel"), KeyboardInterrupt()])
def test_a_single_run_that_fails_is_recorded_with_its_cost(plan_of, tmp_path, tracking_uri, client, monkeypatch, error):
    def fail(*_, **__):
        attach_account(error, step=3, metrics={"cost/seconds": 1.5, "cost/tokens": 64.0, "memory/peak_bytes": 7.0})
        raise error

    plan = plan_of()
    monkeypatch.setattr("nmlab.platform.run_one.run_trial", fail)
    with pytest.raises(type(error)):
        run_one(plan.baselines[0], facts=plan.facts, folder=tmp_path, tracking_uri=tracking_uri, watch=lambda *_: None)
    (run,) = client.search_runs([client.get_experiment_by_name("runs").experiment_id])
    assert run.data.metrics == {"cost/seconds": 1.5, "cost/tokens": 64.0, "memory/peak_bytes": 7.0}
    assert run.data.tags["nmlab.status"] == "failed"
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "RuntimeError: no such kernel"
    assert run.data.tags["nmlab.status_reason"] == reason
