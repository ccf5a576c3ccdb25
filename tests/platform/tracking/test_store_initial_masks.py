"""Masks that trials start from, as runs of their own in a real MLflow store, and what trials say of them."""

from pathlib import Path

import pytest
from stores import DIGEST, LAUNCH, RECORD, children, history, result_of

from nmlab.platform.planning.study_trials import trial_spec

NOWHERE = Path("nowhere")


@pytest.fixture
def spec(plan_of):
    return trial_spec(plan_of().study, {"method": "maskpro", "pattern": "2:4", "steps": 4}, seed=1)


def _kept(client, store):
    return [run for run in children(client, store) if run.data.tags["nmlab.kind"] == "initial_mask"]


def test_a_mask_that_trials_start_from_is_a_run_of_its_own_kind(store, client, masks_folder):
    store.keep_initial_mask(DIGEST, record=RECORD, folder=masks_folder, tags={"nmlab.git_commit": "c0ffee"})
    (run,) = _kept(client, store)
    assert run.info.status == "FINISHED"
    assert {
        "nmlab.launch": LAUNCH,
        "nmlab.initial_mask_digest": DIGEST,
        "nmlab.model_digest": "mm",
        "nmlab.git_commit": "c0ffee",
        "nmlab.status": "finished",
    }.items() <= run.data.tags.items()
    assert "nmlab.trial_key" not in run.data.tags
    assert {
        "method": "gblm",
        "pattern": "2:4",
        "seed": "0",
        "gradient_scale": "100.0",
    }.items() <= run.data.params.items()
    assert run.data.params["data.calibration.source"] == "builtin:python-docs"
    assert run.data.metrics == {f"cost/{name}": value for name, value in RECORD["cost"].items()}
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["mask.safetensors"]


def test_a_mask_that_trials_start_from_is_kept_once(store, reopen, client, masks_folder, tracking_uri):
    for each in (store, store, reopen()):
        each.keep_initial_mask(DIGEST, record=RECORD, folder=masks_folder, tags={})
    assert len(_kept(client, store)) == 1
    assert len(history(tracking_uri)) == len(RECORD["cost"])


def test_a_mask_that_was_half_kept_is_completed(store, reopen, client, masks_folder, tracking_uri):
    """The process died between the run's beginning and its file: the next one finishes it, and repeats nothing."""
    (masks_folder / RECORD["key"] / "mask.safetensors").rename(masks_folder / "away")
    with pytest.raises(OSError, match=r"mask\.safetensors"):
        store.keep_initial_mask(DIGEST, record=RECORD, folder=masks_folder, tags={})
    (masks_folder / "away").rename(masks_folder / RECORD["key"] / "mask.safetensors")
    reopen().keep_initial_mask(DIGEST, record=RECORD, folder=masks_folder, tags={})
    (run,) = _kept(client, store)
    assert run.data.tags["nmlab.status"] == "finished"
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["mask.safetensors"]
    assert len(history(tracking_uri)) == len(RECORD["cost"])


def test_a_trial_is_tagged_with_its_start_and_its_notes(store, client, spec):
    store.begin_trial(spec, role="search", tags={})
    notes = ["the Hessian of a needed damping 0.1, not 0.01", "another"]
    store.end_trial(result_of(spec, notes=notes, initial_masks={DIGEST: RECORD}), folder=NOWHERE)
    (run,) = children(client, store)
    assert run.data.tags["nmlab.notes"] == "\n".join(notes)
    assert run.data.tags["nmlab.initial_mask_digest"] == DIGEST


def test_a_trial_without_start_and_notes_has_no_such_tags(store, client, spec):
    store.begin_trial(spec, role="search", tags={})
    store.end_trial(result_of(spec), folder=NOWHERE)
    (run,) = children(client, store)
    assert not {"nmlab.notes", "nmlab.initial_mask_digest"} & run.data.tags.keys()
