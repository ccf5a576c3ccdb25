"""Launches on disk: making and finding them, and the journal that survives a crash."""

import json
import os
from dataclasses import replace

import pytest

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal, trials_ended_for_good
from nmlab.platform.launches.launch import Launch
from nmlab.platform.records.events import LaunchEnded, TrialEnded, TrialMetrics
from nmlab.trials.files.checked_json import checked_line

SETTINGS = {"tracking_uri": "sqlite:///somewhere.db", "address": None, "max_failures": 3}
POINT = TrialMetrics(key="aa", step=1, time=5, values={"train/loss": 2.5})


def ended(key, status, **metrics):
    result = {"key": key, "status": status, "step": 4, "metrics": metrics, "reason": ""}
    return TrialEnded(key=key, result=result)


@pytest.fixture
def study(plan_of):
    return plan_of().study


@pytest.fixture
def launch(study, tmp_path):
    return launches.create(study, results=tmp_path / "results", settings=SETTINGS)


def test_a_launch_keeps_its_study_and_settings(launch, study):
    again = Launch(launch.folder)
    assert again.study() == study
    assert again.settings() == SETTINGS
    assert launch.folder.parent.name == "quickstart"
    assert launch.name.startswith("quickstart-")


def test_a_launch_is_tidied_of_what_killed_processes_were_writing(launch):
    kept = [launch.trial_folder("k") / "checkpoint-000000006.safetensors", launch.initial_masks_folder / "d" / "m"]
    kept.append(launch.folder / "status.json")
    litter = [path.with_name(f"{path.name}.123.partial") for path in kept]
    for path in (*kept, *litter):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"some")
    launch.tidy()
    assert [path.exists() for path in (*kept, *litter)] == [True] * 3 + [False] * 3


def test_launches_within_one_second_have_folders_of_their_own(study, tmp_path):
    folders = {launches.create(study, results=tmp_path, settings=SETTINGS).folder for _ in range(4)}
    assert len(folders) == 4


@pytest.mark.parametrize("blocked", ["results", "quickstart"])
def test_an_unwritable_results_folder_is_refused_in_one_line(study, tmp_path, blocked):
    """A file stands where a folder is needed; permissions would not stop a test that runs as root."""
    results = tmp_path / "results"
    if blocked == "quickstart":
        results.mkdir()
    (results if blocked == "results" else results / "quickstart").write_text("in the way")
    with pytest.raises(ValueError, match="cannot be written") as raised:
        launches.create(study, results=results, settings=SETTINGS)
    assert str(results) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_launches_are_found_by_folder_name_and_study(study, tmp_path):
    first, second = (launches.create(study, results=tmp_path, settings=SETTINGS) for _ in range(2))
    os.utime(first.folder / "launch.json", (1, 1))
    assert launches.find(str(first.folder), results=tmp_path / "elsewhere") == first
    assert launches.find(first.name, results=tmp_path) == first
    assert launches.find("quickstart", results=tmp_path) == second
    assert launches.find(None, results=tmp_path) == second


def test_an_unknown_launch_is_refused_with_the_known_studies(launch):
    with pytest.raises(ValueError, match="no launch 'quickstop'") as raised:
        launches.find("quickstop", results=launch.folder.parents[1])
    assert str(raised.value).endswith("studies launched there: quickstart")


def test_without_any_launch_there_is_nothing_to_find(tmp_path):
    with pytest.raises(ValueError, match="studies launched there: none"):
        launches.find(None, results=tmp_path / "nowhere")


def test_the_journal_gives_back_what_it_was_given(launch):
    journal = Journal(launch)
    records = [POINT, replace(POINT, values={"train/loss": float("inf")}), ended("aa", "finished")]
    journal.write(records[:1])
    journal.write(records[1:])
    assert list(journal.read()) == records
    journal.close()
    assert list(Journal(launch).read()) == records


def test_records_reach_the_file_before_write_returns(launch):
    """Whoever is killed afterwards has lost nothing."""
    journal = Journal(launch)
    journal.write([POINT])
    header, line = (launch.folder / "journal.jsonl").read_text().splitlines()
    assert json.loads(header)["event"] == "journal"
    assert json.loads(line).items() >= POINT.to_json().items()


def test_a_line_cut_off_anywhere_is_left_out_and_does_not_spoil_the_next(launch):
    path = launch.folder / "journal.jsonl"
    for line in (json.dumps(POINT.to_json()).encode(), checked_line(POINT.to_json())):
        for cut in range(1, len(line) + 1):
            path.write_bytes(line + b"\n" + line[:cut])
            journal = Journal(launch)
            journal.write([ended("bb", "finished")])
            assert list(journal.read()) == [POINT, ended("bb", "finished")]
            journal.close()


def test_a_journal_of_the_first_version_is_read_with_the_lines_that_crashes_cut_off(launch):
    """That version ended a torn line and went on; what is written now has checksums all the same."""
    point, end = (json.dumps(record.to_json()) for record in (POINT, ended("aa", "oom")))
    (launch.folder / "journal.jsonl").write_text(f"{point}\n{point[:30]}\n{end}\n")
    journal = Journal(launch)
    journal.write([POINT])
    assert list(journal.read()) == [POINT, ended("aa", "oom"), POINT]
    assert (launch.folder / "journal.jsonl").read_text().count('"crc"') == 2


def test_a_journal_that_ends_properly_is_not_changed_by_opening_it(launch):
    journal = Journal(launch)
    journal.write([POINT])
    journal.close()
    before = (launch.folder / "journal.jsonl").read_bytes()
    Journal(launch).close()
    assert (launch.folder / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("status", "for_good"),
    [("finished", True), ("diverged", True), ("oom", True), ("stopped", True), ("failed", False)],
)
def test_only_what_would_end_the_same_again_has_ended_for_good(status, for_good):
    assert ("aa" in trials_ended_for_good(iter([ended("aa", status)]))) is for_good


def test_a_trial_that_was_interrupted_goes_on(launch):
    """One that a scheduler stopped has ended; one that Ctrl-C or the time limit stopped has not."""
    record = ended("aa", "stopped")
    record.result["resumable"] = True
    assert trials_ended_for_good(iter([record])) == {}


def test_the_last_end_of_a_trial_counts_and_carries_its_metrics():
    records = [ended("aa", "failed"), POINT, ended("aa", "finished", **{"eval/perplexity": 3.0})]
    found = trials_ended_for_good(iter(records))
    assert found["aa"]["status"] == "finished"
    assert found["aa"]["eval/perplexity"] == 3.0
    assert found["aa"]["step"] == 4


@pytest.mark.parametrize(
    ("record", "is_synced"),
    [
        (POINT, False),
        (ended("aa", "failed"), True),
        (LaunchEnded(status="finished", time=5, tags={}), True),
    ],
)
def test_an_end_is_on_disk_when_write_returns(launch, monkeypatch, record, is_synced):
    """Points may be lost with the machine, since the trial repeats them; what Tune is told may not."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(launch.journal_file.read_bytes().count(b"\n")))
    journal = Journal(launch)
    journal.write([POINT, record])
    journal.close()
    assert synced == [3] * is_synced, "after header and records are written"


def test_a_launch_keeps_every_version_of_its_study(launch, study):
    more = study.model_copy(update={"seeds": (*study.seeds, 9)})
    added = launch.extend(more)
    again = Launch(launch.folder)
    assert [version.number for version in again.versions()] == [1, 2]
    assert (again.study(), again.study(again.versions()[0])) == (more, study)
    assert (added.file, again.study_file.name) == ("study-2.yaml", "study-2.yaml")
    assert again.versions()[0].made_by == again.versions()[1].made_by != ""
    assert added.made.endswith(" UTC")
    assert again.settings() == SETTINGS
    again.change_settings(address="auto")
    assert Launch(launch.folder).study() == more


def test_a_process_that_is_killed_while_it_extends_leaves_the_launch_as_it_was(launch, study, monkeypatch):
    """Its file of the study is written again by the next one."""
    more = study.model_copy(update={"seeds": (*study.seeds, 9)})
    with monkeypatch.context() as patch:
        patch.setattr(launches, "write_checked", lambda *_, **__: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            launch.extend(more)
    assert (launch.folder / "study-2.yaml").is_file()
    assert Launch(launch.folder).study() == study
    other = study.model_copy(update={"seeds": (*study.seeds, 8)})
    launch.extend(other)
    assert Launch(launch.folder).study() == other


def test_a_version_that_was_changed_is_refused(launch, study):
    launch.extend(study.model_copy(update={"seeds": (*study.seeds, 9)}))
    launch.study_file.write_text(launch.study_file.read_text() + "# changed\n")
    with pytest.raises(ValueError, match=r"study-2\.yaml, made by nmlab .*its digest differs"):
        launch.study()
    assert launch.study(launch.versions()[0]) == study


def test_an_extended_launch_is_not_read_by_a_version_that_knows_no_extensions(launch, study):
    """It would go on with the first version of the study."""
    assert json.loads((launch.folder / "launch.json").read_text())["format"] == 1
    launch.extend(study)
    assert json.loads((launch.folder / "launch.json").read_text())["format"] == 2


def test_a_launch_that_cannot_be_extended_on_this_disk_says_so(launch, study):
    (launch.folder / "study-2.yaml").mkdir()
    with pytest.raises(ValueError, match=r"launch .* cannot be extended: "):
        launch.extend(study)
