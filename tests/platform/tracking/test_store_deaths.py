"""A writer that dies between any two of its calls to MLflow: the next one delivers everything again."""

import itertools
from pathlib import Path

import pytest
from stores import DIGEST, RECORD, result_of

from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.tracking.store import MlflowStore

WRITES = {
    *("create_run", "update_run", "set_terminated", "set_tag", "delete_tag"),
    *("log_batch", "log_metric", "log_artifact", "log_inputs"),
}


class DeadError(BaseException):
    """Stands for SIGKILL."""


class Mortal:
    """An MLflow client whose process dies when so many writes are done."""

    def __init__(self, client, *, writes):
        self._client, self._left = client, writes

    def __getattr__(self, name):
        call = getattr(self._client, name)
        return call if name not in WRITES else lambda *args, **others: self._write(call, *args, **others)

    def _write(self, call, *args, **others):
        if self._left == 0:
            raise DeadError
        self._left -= 1
        return call(*args, **others)


@pytest.fixture
def spec(plan_of):
    point = {"method": "maskpro", "pattern": "2:4", "steps": 4, "alpha": 0.9, "initial_mask": "wanda"}
    return trial_spec(plan_of().study, point, seed=1)


@pytest.fixture
def story(spec, tmp_path, masks_folder):
    """A launch that is interrupted once, as in its journal."""
    (tmp_path / "mask.safetensors").write_bytes(b"bits")

    def points(*steps):
        return [{"step": step, "time": 1000 * step, "values": {"train/loss": 5.0 - step}} for step in steps]

    def tell(store):
        store.begin({"nmlab.planned": "1"}, {"method": "maskpro"})
        store.begin_trial(spec, role="search", tags={})
        store.log_points(spec.key, points(1, 2))
        store.end_trial(result_of(spec, "stopped", reason="interrupted", resumable=True), folder=tmp_path)
        store.begin_trial(spec, role="search", tags={})
        store.log_points(spec.key, points(2, 3))
        store.keep_initial_mask(DIGEST, record=RECORD, folder=masks_folder, tags={})
        ended = result_of(spec, artifacts=["mask.safetensors"], notes=["of use"], initial_masks={DIGEST: RECORD})
        store.end_trial({**ended, "facts": {"depends_on_seed": "true"}}, folder=tmp_path)
        store.tag_parent({"nmlab.best": spec.key})
        store.end("finished", time=2_000_000_000_000)

    return tell


def what_is_there(client, store, launch):
    """Everything of a launch that must not depend on who wrote it, run by run."""
    found, own = [], ("mlflow.parentRunId", "nmlab.launch")
    for run in client.search_runs([store._experiment], f"tags.`nmlab.launch` = '{launch}'"):
        tags = {name: text for name, text in run.data.tags.items() if name not in own}
        history = {name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]
                   for name in run.data.metrics}  # fmt: skip
        files = [Path(file.path).name for file in client.list_artifacts(run.info.run_id)]
        name = tags.pop("mlflow.runName").replace(launch, "LAUNCH")
        texts = sorted(used.dataset.digest for used in run.inputs.dataset_inputs)
        found.append((name, run.info.status, tags, run.data.params, history, files, texts))
    return sorted(found, key=lambda each: each[0])


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.thorough)])
def test_after_a_death_between_any_two_writes_all_is_there_and_nothing_twice(story, client, tracking_uri, every):
    whole, deaths = None, 0
    for writes in itertools.chain([10_000], itertools.count(step=every)):
        launch = f"quickstart-{writes}"
        store = MlflowStore("quickstart", launch=launch, uri=tracking_uri)
        store._client = Mortal(client, writes=writes)
        try:
            story(store)
        except DeadError:
            deaths += 1
            store = MlflowStore("quickstart", launch=launch, uri=tracking_uri)
            story(store)
            assert what_is_there(client, store, launch) == whole, f"it died after {writes} writes"
        else:
            if whole is not None:
                break
            whole = what_is_there(client, store, launch)
    assert [status for _, status, *_ in whole] == ["FINISHED"] * 3
    assert deaths > 20 // every
