"""Whatever happens to the files of a launch: they are read as they were, or refused in one line that names the file."""

import json

import pytest
from damage import check_damage

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.status import StatusFile, read_status
from nmlab.platform.records.events import LaunchBegan, TrialEnded, TrialMetrics, UnknownRecord
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.trials.files.checked_json import DamagedFileError, NewerFormatError, write_checked

SETTINGS = {"tracking_uri": "sqlite:////tmp/x.db", "address": None, "max_failures": 3}
RECORDS = [
    LaunchBegan(tags={"nmlab.planned": "2"}, params={"method": "susi"}),
    TrialMetrics(key="aa", step=1, time=5, values={"eval/perplexity": 2.5}),
    TrialEnded(key="aa", result={"key": "aa", "status": "finished", "metrics": {"eval/perplexity": 2.5}}),
]


@pytest.fixture
def launch(plan_of, tmp_path):
    return launches.create(plan_of().study, results=tmp_path, settings=SETTINGS)


def test_the_journal(launch):
    journal = Journal(launch)
    journal.write(RECORDS)
    journal.close()

    def read():
        journal = Journal(launch)
        try:
            return list(journal.read())
        finally:
            journal.close()

    # What a cut leaves is what a crash leaves: the first records, none changed.
    check_damage(launch.journal_file, read=read, same=lambda found: found == RECORDS[: len(found)])


def test_a_record_that_is_missing_in_the_middle_is_no_cut(launch):
    """The cut above may lose the end; a flipped bit may lose nothing in silence."""
    journal = Journal(launch)
    journal.write(RECORDS)
    journal.close()
    content = launch.journal_file.read_bytes()
    launch.journal_file.write_bytes(content.replace(b'"step": 1', b'"step": 3'))
    with pytest.raises(DamagedFileError, match=r"journal\.jsonl is damaged in line 3: its checksum does not match"):
        Journal(launch)


def test_the_launch_record(launch):
    check_damage(launch.folder / "launch.json", read=launch.settings, same=lambda found: found == SETTINGS)


def test_the_study(launch):
    whole = launch.study()
    check_damage(launch.study_file, read=launch.study, same=lambda found: found == whole, every=7)


@pytest.mark.slow
def test_optunas_journal(plan_of, tmp_path):
    study, path = plan_of("search.algorithm=random", "search.samples=2").study, tmp_path / "optuna.journal"
    strategy = strategy_of(study, journal=path)
    made = [strategy.next(), strategy.next()]
    strategy.tell(0, Outcome([3.0]))

    def read():
        return strategy_of(study, journal=path).open()

    check_damage(path, read=read, same=lambda found: all(item in made for item in found), every=7)


def test_a_search_goes_on_after_a_torn_line(plan_of, tmp_path):
    study, path = plan_of("search.algorithm=random", "search.samples=2").study, tmp_path / "optuna.journal"
    strategy_of(study, journal=path).next()
    path.write_bytes(path.read_bytes() + b'{"op_code":4,"wor')
    again = strategy_of(study, journal=path)
    assert len(again.open()) == 1
    assert again.next() is not None
    assert again.next() is None


def test_the_status(launch):
    snapshot = {"phase": "finished", "ended": 7, "counts": {"finished": 7}}
    StatusFile(launch.status_file).write(snapshot)
    check_damage(
        launch.status_file, read=lambda: read_status(launch), same=lambda found: found.items() >= snapshot.items()
    )


def test_a_newer_launch_names_the_version_it_needs(launch):
    path = launch.folder / "launch.json"
    record = json.loads(path.read_text())
    del record["crc"]
    path.write_text(json.dumps({**record, "format": 9, "nmlab": "4.2"}))
    with pytest.raises(DamagedFileError):  # it was changed by hand
        launch.settings()

    write_checked(path, {**SETTINGS, "nmlab": "4.2"}, format=9)
    with pytest.raises(
        NewerFormatError, match=r"launch\.json has format 9, .* reads up to 2; it was written by nmlab 4.2"
    ):
        launch.settings()


def test_a_newer_journal_names_the_version_it_needs(launch):
    journal = Journal(launch)
    journal.write([UnknownRecord(name="journal", rest={"format": 7, "nmlab": "4.2"})])
    journal.close()
    with pytest.raises(NewerFormatError, match=r"journal\.jsonl has format 7"):
        Journal(launch)


def test_a_launch_of_the_first_version_is_read(launch):
    (launch.folder / "launch.json").write_text(json.dumps(SETTINGS, indent=2) + "\n")
    assert Launch(launch.folder).settings() == SETTINGS
    assert launch.study().name == "quickstart"
