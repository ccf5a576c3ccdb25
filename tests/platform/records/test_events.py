"""Records as dataclasses: what a journal of any version holds is read, and written as it was."""

from typing import get_args

import pytest

from nmlab.platform.records.events import (
    JournalRecord,
    TrialLeased,
    TrialMetrics,
    UnknownRecord,
    event_of,
    record_from_json,
)

RESULT = {"key": "k", "status": "finished", "step": 4, "metrics": {"eval/perplexity": 2.5}, "reason": ""}
FACTS = {"pid": 7, "node": "10.0.0.1", "node_id": "n1", "device": "cpu", "slots": 2, "model_digest": "dd"}
WRITTEN = [
    {"event": "launch began", "tags": {"nmlab.planned": "1"}, "params": {"method": "susi"}},
    {"event": "trial", "key": "k", "spec": {"method": "susi"}},
    {"event": "replica", "host": "a", "incarnation": 3, "loads": 1, **FACTS},
    {"event": "replica refused", "host": "b", "reason": "no room"},
    {"event": "replica refused", "host": "b", "reason": "other code", "nodes": ["n2"]},
    {"event": "leased", "key": "k", "host": "a", "attempt": 1, "epoch": 101},
    {"event": "metrics", "key": "k", "step": 0, "time": 0, "values": {"train/loss": 2.5}, "host": "a"},
    {"event": "participant", "key": "k", "member": "peer-1", "host": "c"},
    {"event": "participant lost", "key": "k", "member": "peer-1", "reason": "E: e", "host": "c"},
    {"event": "party notice", "key": "k", "notice": "peer-1 was silent", "host": "a"},
    {"event": "party ended", "key": "k", "exchanged_bytes": 0, "host": "a"},
    {"event": "trial actor lost", "key": "k", "error": "e"},
    {"event": "train run lost", "host": "a", "error": "e"},
    {"event": "replica lost", "host": "a", "reason": "died"},
    {"event": "replica left", "host": "a", "reason": "left"},
    {"event": "result refused", "host": "a", "key": "k", "reason": "gone", "node": ""},
    {"event": "ended", "key": "k", "result": RESULT, "host": "a"},
    {"event": "verified", "unchanged": False, "host": "a"},
    {
        "event": "confirmation chosen",
        "seeds": [2, 3],
        "chosen": [{"configuration": "c", "role": "search", "mean": 30.5, "spec": {"method": "susi"}}],
        "metric": "eval/perplexity",
        "asked": 3,
        "looked_at": 12,
        "tags": {"nmlab.planned": "8"},
    },
    {
        "event": "warm start",
        "sources": [{"study": "s", "launch": "s-1", "line": "s-1: 1 configuration with outcomes"}],
        "entered": [
            {"launch": "s-1", "configuration": "c", "seeds": [0], "settings": {"alpha": 0.9}, "values": [30.5]}
        ],
        "points": [{"alpha": 0.95}],
    },
    {"event": "launch ended", "status": "finished", "time": 5, "tags": {}},
]
OF_EARLIER_VERSIONS = [
    {"event": "leased", "key": "k", "host": "a", "attempt": 1},
    {"event": "metrics", "key": "k", "step": 1, "time": 5, "values": {"train/loss": 2.5}},
    {"event": "ended", "key": "k", "result": RESULT},
    {"event": "replica", "host": "a", "pid": 7},
]
OF_A_LATER_VERSION = [
    {"event": "leased", "key": "k", "host": "a", "attempt": 1, "epoch": 3, "priority": 5},
    {"event": "replica paused", "host": "a", "why": {"load": 3.5}},
]


@pytest.mark.parametrize("line", [*WRITTEN, *OF_EARLIER_VERSIONS, *OF_A_LATER_VERSION], ids=lambda line: line["event"])
def test_a_line_is_written_as_it_was_read(line):
    record = record_from_json(line)
    assert record.to_json() == line
    assert next(iter(record.to_json())) == "event"
    assert event_of(record) == line["event"]


def test_every_event_is_among_the_lines_above():
    """The names are kept: journals hold them."""
    assert {kind.event for kind in get_args(JournalRecord) if kind is not UnknownRecord} == {
        line["event"] for line in WRITTEN
    }


def test_fields_are_read_by_their_names():
    assert record_from_json(WRITTEN[6]) == TrialMetrics(key="k", step=0, time=0, values={"train/loss": 2.5}, host="a")
    assert record_from_json(OF_A_LATER_VERSION[0]) == TrialLeased(
        key="k", host="a", attempt=1, epoch=3, rest={"priority": 5}
    )
    assert record_from_json(OF_A_LATER_VERSION[1]) == UnknownRecord(
        name="replica paused", rest={"host": "a", "why": {"load": 3.5}}
    )


def test_a_known_event_that_lacks_fields_is_refused_by_name():
    with pytest.raises(ValueError, match="its record 'leased' has no host and no attempt"):
        record_from_json({"event": "leased", "key": "k"})
