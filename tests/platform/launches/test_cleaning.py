"""What `nmlab clean` would delete and deletes, on folders of launches with a store of their own."""

import json

import pytest
from mlflow.tracking import MlflowClient

from nmlab.platform import cli
from nmlab.platform.launches.cleaning import CleaningChoice, all_launches, carry_out, survey
from nmlab.platform.launches.journal import Journal
from nmlab.platform.launches.launch import create
from nmlab.platform.launches.ownership import OwnedError, held_by, owned
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import LaunchBegan, LaunchEnded, TrialEnded, TrialSubmitted
from nmlab.platform.tracking.recorder import Recorder
from nmlab.platform.tracking.store import MlflowStore
from nmlab.platform.tracking.undelivered import undelivered
from nmlab.trials.files.checked_json import write_checked
from nmlab.trials.trial.artifacts import RECORD_FORMAT

LEFT = {"checkpoint-000000500.safetensors": 4000, "checkpoint-000000001.damaged": 30, "mask.1a2b.partial": 7}
STAGE = "shard-1-of-2/checkpoint-000000500.safetensors"
RESULTS = {"mask.safetensors": 100, "weights.safetensors": 900, "evaluation.npz": 50, "steps.npz": 60}
CHECKPOINTS, LEFTOVERS, RAY = 2 * 5000, 2 * 37 + 11, 2000


class Made:
    """A launch of two configurations (losses 20 and 10) with the folders of their trials, recorded in a store."""

    def __init__(self, folder, plan, *, uri, last="finished", has_ended=True):
        study = plan.study
        self.launch = create(study, results=folder / "results", settings={"tracking_uri": uri, "address": None,
                                                                          "max_failures": 3})  # fmt: skip
        self.specs = [trial_spec(study, {**POINT, "alpha": alpha}, seed=0) for alpha in (0.5, 0.9)]
        self.records = [LaunchBegan(tags={}, params={})]
        for spec, loss, status in zip(self.specs, (20.0, 10.0), ("finished", last), strict=True):
            self._write_trial(spec, loss, is_finished=status == "finished")
            self.records.append(TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json")))
            if status:
                self.records.append(TrialEnded(key=spec.key, result=self._result(spec, loss, status)))
        if has_ended:
            self.records.append(LaunchEnded(status="finished", time=1_700_000_000_000, tags={}))
        (self.launch.folder / "ray" / "session").mkdir(parents=True)
        (self.launch.folder / "ray" / "session" / "log").write_bytes(bytes(RAY))
        (self.launch.folder / "status.8f.partial").write_bytes(bytes(11))
        self.launch.environment_file.write_text("{}")
        self.uri = uri

    def _write_trial(self, spec, loss, *, is_finished):
        folder = self.launch.trial_folder(spec.key)
        (folder / STAGE).parent.mkdir(parents=True)
        (folder / STAGE).write_bytes(bytes(1000))
        for name, size in {**LEFT, **(RESULTS if is_finished else {})}.items():
            (folder / name).write_bytes(bytes(size))
        if is_finished:
            record = {"key": spec.key, "spec": spec.model_dump(mode="json"), "metrics": {"eval/perplexity": loss}}
            write_checked(folder / "trial.json", record, format=RECORD_FORMAT)

    def _result(self, spec, loss, status):
        files = [*RESULTS, "trial.json"] if status == "finished" else []
        return {"key": spec.key, "status": status, "step": 4, "metrics": {"eval/perplexity": loss}, "reason": "",
                "artifacts": files, "resumable": status == "stopped"}  # fmt: skip

    def deliver(self, *, but=0):
        """Keep the journal, and tell the store all of it but some of the last records."""
        journal = Journal(self.launch)
        store = MlflowStore("quickstart", launch=self.launch.name, uri=self.uri)
        recorder = Recorder(self.launch, journal=journal, store=store, baselines=[], tags={})
        recorder.record(self.records[: len(self.records) - but])
        recorder.close()
        if but:
            journal.write(self.records[-but:])
        journal.close()
        return self

    def files(self):
        return {path.relative_to(self.launch.folder).as_posix() for path in self.launch.folder.rglob("*")
                if path.is_file()}  # fmt: skip


POINT = {"method": "maskpro", "pattern": "2:4", "learning_rate": 1.0, "logit_magnitude": 4.0, "steps": 4}


@pytest.fixture
def made(tmp_path, plan_of, migrated_database):
    def make(**options):
        (tmp_path / "nmlab.db").write_bytes(migrated_database.read_bytes())
        return Made(tmp_path, plan_of(), uri=f"sqlite:///{tmp_path}/nmlab.db", **options)

    return make


def cleaned(made, **choice):
    return carry_out(made.launch, CleaningChoice(**choice), undelivered=undelivered)


def test_a_look_says_bytes_by_kind_and_changes_nothing(made):
    made = made().deliver()
    before = made.files()
    found = survey(made.launch, CleaningChoice(), undelivered=undelivered)
    assert found.bytes_by_kind == {"checkpoints": CHECKPOINTS, "leftovers": LEFTOVERS, "ray": RAY}
    only = survey(made.launch, CleaningChoice(checkpoints=True), undelivered=undelivered)
    assert only.bytes_by_kind == {"checkpoints": CHECKPOINTS}
    assert made.files() == before, "not even a lock was left"


def test_what_holds_no_result_goes_and_every_result_stays(made):
    made = made().deliver()
    assert cleaned(made).kept_because == ""
    left = made.files()
    assert not [name for name in left if "checkpoint" in name or name.startswith("ray/") or name.endswith(".partial")]
    for spec in made.specs:
        assert {f"trials/{spec.key}/{name}" for name in (*RESULTS, "trial.json")} <= left
    assert {"study.yaml", "journal.jsonl", "launch.json"} <= left
    assert cleaned(made).bytes_by_kind == {}


def test_the_best_keeps_masks_and_weights_and_all_other_results_go(made):
    made = made().deliver()
    found = cleaned(made, keep_best=True)
    best = made.specs[1]
    assert found.best.startswith(best.configuration)
    trials = {name for name in made.files() if name.startswith("trials/")}
    kept = ("mask.safetensors", "weights.safetensors", "trial.json")
    assert trials == {f"trials/{best.key}/{name}" for name in kept}
    assert found.bytes_by_kind["results"] > sum(RESULTS.values())
    assert {"study.yaml", "journal.jsonl", "launch.json"} <= made.files()


def test_checkpoints_of_the_best_can_stay(made):
    made = made().deliver()
    assert cleaned(made, checkpoints=True, keep_best=True).bytes_by_kind == {"checkpoints": CHECKPOINTS // 2}
    assert f"trials/{made.specs[1].key}/{STAGE}" in made.files()


def test_a_whole_launch_goes_once_mlflow_has_it(made):
    made = made().deliver()
    found = cleaned(made, whole=True)
    assert found.bytes_by_kind["launch"] > 0
    assert not made.launch.folder.exists()
    assert all_launches(made.launch.folder.parents[1]) == []


@pytest.mark.parametrize("choice", [{"whole": True}, {"keep_best": True}])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made: made.deliver(but=2), "MLflow does not have 1 of its 2 results yet; `nmlab resume"),
        (lambda made: made.deliver(but=1), "MLflow does not have its end yet; `nmlab resume"),
        (lambda made: _lose_an_artifact(made.deliver()), "MLflow does not have 1 of its 2 results yet"),
        (lambda made: _lose_the_store(made.deliver()), "MLflow cannot be read"),
    ],
)
def test_nothing_that_mlflow_lacks_is_deleted(made, choice, spoil, message):
    made = made()
    spoil(made)
    before = made.files()
    found = cleaned(made, **choice)
    assert found.kept_because.startswith(message)
    assert found.paths == {}
    assert made.files() - {"owner.json", "owner.lock"} == before
    assert cleaned(made).bytes_by_kind["checkpoints"] == CHECKPOINTS, "which hold no result"


def _lose_an_artifact(made):
    client = MlflowClient(tracking_uri=made.uri)
    experiment = client.get_experiment_by_name("quickstart").experiment_id
    run = client.search_runs([experiment], f"tags.`nmlab.trial_key` = '{made.specs[0].key}'")[0]
    client.set_tag(run.info.run_id, "nmlab.missing_artifacts", "mask.safetensors")


def _lose_the_store(made):
    (made.launch.folder.parents[2] / "nmlab.db").unlink()


@pytest.mark.parametrize(("last", "has_ended"), [("", False), ("stopped", True)])
def test_what_can_go_on_keeps_its_checkpoints_and_its_launch(made, last, has_ended):
    made = made(last=last, has_ended=has_ended).deliver()
    found = cleaned(made, whole=True)
    assert found.kept_because.startswith("1 of its trials have not ended; `nmlab resume")
    assert cleaned(made).bytes_by_kind["checkpoints"] == CHECKPOINTS // 2
    assert f"trials/{made.specs[1].key}/{STAGE}" in made.files()


def test_a_launch_that_a_process_owns_is_left_alone(made):
    made = made().deliver()
    before = made.files()
    with owned(made.launch.folder):
        assert held_by(made.launch.folder).startswith("process ")
        found = survey(made.launch, CleaningChoice(whole=True), undelivered=undelivered)
        assert found.kept_because.startswith("it is owned by process ")
        assert found.paths == {}
        with pytest.raises(OwnedError):
            cleaned(made, whole=True)
    assert made.files() - {"owner.json", "owner.lock"} == before
    assert held_by(made.launch.folder) == ""


def test_a_damaged_journal_keeps_everything(made):
    made = made().deliver()
    text = made.launch.journal_file.read_bytes()
    made.launch.journal_file.write_bytes(text.replace(b'"launch ended"', b'"launch endxd"'))
    found = cleaned(made)
    assert "is damaged in line" in found.kept_because
    assert found.paths == {}


@pytest.fixture
def nmlab(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", "clean", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, capsys.readouterr()

    return call


def test_the_verb_lists_and_only_deletes_with_yes(nmlab, made):
    made = made().deliver()
    before = made.files()
    code, printed = nmlab("quickstart")
    assert (code, made.files()) == (0, before)
    assert "12.1 kB would be deleted; --yes deletes them" in printed.out
    code, printed = nmlab("--json")
    record = json.loads(printed.out)
    assert record["bytes"] == {"checkpoints": CHECKPOINTS, "ray": RAY, "leftovers": LEFTOVERS}
    assert record["deleted"] is False
    assert [each["launch"] for each in record["launches"]] == [made.launch.name]
    code, printed = nmlab("quickstart", "--yes")
    assert code == 0
    assert "12.1 kB deleted" in printed.out
    assert made.files() - {"owner.json", "owner.lock"} < before


def test_the_verb_refuses_in_one_line(nmlab, made):
    made = made().deliver()
    code, printed = nmlab("--whole", "--yes")
    assert code == 2
    assert "expected its name: nmlab clean LAUNCH --whole" in printed.err
    code, printed = nmlab("no-such-study")
    assert code == 2
    with owned(made.launch.folder):
        code, printed = nmlab("quickstart", "--yes")
    assert code == 1
    assert "left alone, it is owned by process" in printed.out
