"""What the driver adds to the ends of trials: why they stopped, what they cost, and what is to be said of the texts."""

import pytest

from nmlab.platform.launches.launch import create
from nmlab.platform.launches.trial_ends import RecordCompletion
from nmlab.platform.records.events import TrialEnded, TrialLeased
from nmlab.trials.measure.cost import Bill, Cost
from nmlab.trials.trial.checkpoint import CheckpointFolder


@pytest.fixture
def launch(plan_of, tmp_path):
    return create(plan_of().study, results=tmp_path / "results", settings={})


def ended(key, status="failed", **others):
    result = {"key": key, "status": status, "step": 0, "metrics": {}, "reason": "lost", **others}
    return TrialEnded(key=key, result=result)


def leased(key):
    return TrialLeased(key=key, host="replica-0", attempt=1)


def completed(launch, records, *, recalled=(), stopped_early=None, text_notes=()):
    completion = RecordCompletion(launch, stopped_early=stopped_early or {}, text_notes=text_notes)
    completion.recall(recalled)
    records = completion.complete(records)
    return {record.key: record.result for record in records if isinstance(record, TrialEnded)}


def test_every_end_that_comes_without_an_account_is_completed(launch):
    """Whether a replica ever took the trial, the records of this process say, or those of one before it."""
    account = Cost(forwards=9, tokens=900, shared=Bill(forwards=2))
    folder = CheckpointFolder(launch.trial_folder("saved"), key="saved")
    folder.save(8, tensors={}, values={"cost": account.state(), "history": {}})
    records = [leased("saved"), leased("young"), *map(ended, ("saved", "young", "early", "waiting"))]
    found = completed(launch, records, recalled=[leased("early"), ended("other")])
    assert found["saved"]["metrics"]["cost/forwards"] == 9
    assert found["young"]["facts"] == found["early"]["facts"] == {"cost": "unknown"}
    assert found["waiting"]["metrics"]["cost/forwards"] == 0


def test_what_fell_behind_was_stopped_early_and_all_else_that_stopped_goes_on_after_a_resume(launch):
    records = [ended("behind", "stopped"), ended("interrupted", "stopped"), ended("complete", "finished")]
    found = completed(launch, records, stopped_early={"behind": "3 of 4 are better"})
    assert (found["behind"]["resumable"], found["behind"]["reason"]) == (False, "stopped early: 3 of 4 are better")
    assert (found["interrupted"]["resumable"], found["interrupted"]["reason"]) == (True, "lost; resumable")
    assert "resumable" not in found["complete"]


def test_reasons_that_come_later_count(launch):
    reasons = {}
    completion = RecordCompletion(launch, stopped_early=reasons, text_notes=())
    reasons["behind"] = "3 of 4 are better"
    (record,) = completion.complete([ended("behind", "stopped")])
    assert record.result["resumable"] is False


def test_notes_on_the_text_stand_once_beside_every_result(launch):
    notes = ["the text is short"]
    found = completed(launch, [ended("a"), ended("b", notes=["its own", *notes])], text_notes=notes)
    assert (found["a"]["notes"], found["b"]["notes"]) == (notes, ["its own", *notes])
