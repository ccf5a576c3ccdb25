"""Earlier names of study keys are read everywhere, each with a note; both names at once are refused by name."""

import logging

import pytest
import yaml

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.earlier_names import EARLIER, recorded_name
from nmlab.search_spaces.reading.problems import StudyError

STUDY = loader.dump(loader.load("quickstart"))
GIVEN = {
    "answers": "Does it?",
    "cadence": {"log_every": 7},
    "search": {"algorithm": "tpe", "samples": 3, "points": ["defaults"]},
    "replica": {"count": 2, "shards": 2, "participants": 2},
}
NOW = {
    "question": "Does it?",
    "intervals": {"log_every": 7},
    "search": {"algorithm": "tpe", "samples": 3, "initial_points": ["defaults"]},
    "replica": {"count": 2, "pipeline_stages": 2, "mask_parallel": 2},
}


def raw(**changed):
    data = {name: value for name, value in yaml.safe_load(STUDY).items() if name not in (*NOW, "preset")}
    data["pattern"] = "2:4"
    return {**data, **changed}


def load(data, **options):
    return loader.loads(yaml.safe_dump(data), source="mine.yaml", **options)


def test_a_file_with_earlier_names_is_the_same_study_with_a_note_for_each(caplog):
    with caplog.at_level(logging.WARNING):
        expected = load(raw(**NOW))
        assert caplog.messages == []
        assert load(raw(**GIVEN)) == expected
    assert sorted(caplog.messages) == sorted(
        f"mine.yaml: {earlier} is called {now} now; the earlier name is still read" for earlier, now in EARLIER.items()
    )
    assert loader.dump(load(raw(**GIVEN))) == loader.dump(expected)
    assert not {"answers", "cadence"} & set(yaml.safe_load(loader.dump(expected)))


def test_the_study_of_a_launch_is_read_without_a_note(caplog):
    assert load(raw(**GIVEN), from_record=True) == load(raw(**NOW))
    assert caplog.messages == []


def test_a_preset_may_have_them_over_present_names_and_the_other_way_round(caplog):
    presets = {"small": {"cadence": {"log_every": 3}, "replica": {"shards": 2}}}
    study = load(raw(**NOW, presets=presets))
    assert (study.intervals.log_every, study.replica.pipeline_stages, study.replica.count) == (3, 2, 2)
    assert "mine.yaml: presets.small.cadence is called intervals now; the earlier name is still read" in caplog.messages
    assert any("presets.small.replica.shards is called replica.pipeline_stages" in line for line in caplog.messages)
    other = load(raw(**GIVEN, presets={"small": {"intervals": {"log_every": 3}}}))
    assert other.intervals.log_every == 3


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("answers=Why?", "question=Why?"),
        ("cadence.log_every=1", "intervals.log_every=1"),
        ("cadence={log_every: 1, checkpoint_every: 2}", "intervals={log_every: 1, checkpoint_every: 2}"),
        ("search.points=[defaults]", "search.initial_points=[defaults]"),
        ("search={algorithm: tpe, samples: 2, points: []}", "search={algorithm: tpe, samples: 2, initial_points: []}"),
        ("replica.shards=2", "replica.pipeline_stages=2"),
        ("replica={count: 3, participants: 3}", "replica={count: 3, mask_parallel: 3}"),
    ],
)
def test_an_override_by_an_earlier_name_does_what_the_present_one_does(earlier, now, caplog):
    changed = loader.load("quickstart", overrides=[now])
    assert caplog.messages == []
    assert loader.load("quickstart", overrides=[earlier]) == changed
    assert changed != loader.load("quickstart")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("--set: ")
    assert caplog.messages[0].endswith("; the earlier name is still read")


def test_the_last_override_wins_whichever_name_it_uses():
    assert (
        loader.load("quickstart", overrides=["cadence.log_every=1", "intervals.log_every=2"]).intervals.log_every == 2
    )
    assert (
        loader.load("quickstart", overrides=["intervals.log_every=2", "cadence.log_every=1"]).intervals.log_every == 1
    )


@pytest.mark.parametrize(
    ("changed", "overrides", "message"),
    [
        ({"answers": "A?", "question": "A?"}, (), "mine.yaml, line 1: answers and question: one key"),
        ({"cadence": {}, "intervals": {}}, (), "mine.yaml, line 17: cadence and intervals: one key"),
        ({"replica": {"shards": 1, "pipeline_stages": 1}}, (), "replica.shards and replica.pipeline_stages: one key"),
        ({"presets": {"a": {"cadence": {}, "intervals": {}}}}, (), "presets.a.cadence and intervals: one key"),
        (
            {},
            ("replica={participants: 1, mask_parallel: 1}",),
            "replica.participants and replica.mask_parallel: one key",
        ),
    ],
)
def test_both_names_at_once_are_refused_by_name(changed, overrides, message):
    with pytest.raises(StudyError) as caught:
        load({**raw(), **changed}, overrides=overrides)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_wrong_value_under_an_earlier_name_is_told_by_the_present_one():
    with pytest.raises(StudyError, match=r"^--set cadence\.log_every=0: expected at least 1$"):
        loader.load("quickstart", overrides=["cadence.log_every=0"])
    with pytest.raises(StudyError, match=r"^mine\.yaml, line 18: intervals\.log_every 0: expected at least 1$"):
        load(raw(cadence={"log_every": 0}))
    with pytest.raises(StudyError, match=r"intervals\.log_evry: unknown key; did you mean 'intervals\.log_every'"):
        load(raw(cadence={"log_evry": 1}))


def test_mlflow_has_the_earlier_names():
    assert recorded_name("intervals.log_every") == "cadence.log_every"
    assert recorded_name("question") == "answers"
    assert [recorded_name(now) for now in EARLIER.values()] == list(EARLIER)
    assert recorded_name("search.samples") == "search.samples"
    assert recorded_name("questions") == "questions"
