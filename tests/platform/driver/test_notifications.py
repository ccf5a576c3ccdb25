"""What is said of a launch to an address: at its end, when an error ends it, when the disk is full, and no more."""

import json
import os
import re

import pytest
from receivers import SECRET, Receiver
from sources import ROOT

from nmlab.platform.driver import notifications as of_driver
from nmlab.platform.driver.notifications import Notifications, both, notifications
from nmlab.platform.launches.endings import LaunchEnding, SweepError
from nmlab.platform.launches.notification import notification
from nmlab.platform.launches.ownership import OwnedError
from nmlab.platform.process.posting import secret_url
from nmlab.trials.contract.run_status import LaunchStatus

FULL = {"disk": "/results/a: No space left on device; waiting for room"}
STANDING = {
    "pattern": "2:4",
    "label": "maskpro 2:4 alpha=0.99",
    "mean": 118.9,
    "seeds": 3,
    "baseline": "wanda 2:4",
    "baseline_mean": 132.6,
}


def snapshot(**others):
    return {
        "study": "alpha",
        "launch": "alpha-1",
        "phase": "running",
        "metric": "validation/perplexity",
        "mode": "min",
        "planned": 4,
        "ended": 2,
        "counts": {"finished": 1, "diverged": 1},
        "elapsed_seconds": 60.5,
        "eta_seconds": None,
        "model_loads": 1,
        "trouble": {},
        "replicas": {},
        "best": [STANDING],
        "trials": {
            "a": {"configuration": "1", "pattern": "2:4", "status": "finished", "reason": ""},
            "b": {"configuration": "2", "pattern": "2:4", "status": "diverged", "reason": "nan"},
            "c": {"configuration": "3", "pattern": "2:4", "status": "stopped", "reason": "stopped early: worse"},
        },
        **others,
    }


def ending(status=LaunchStatus.FINISHED, **others):
    return LaunchEnding(status, {"finished": 1, "diverged": 1}, 1, "verified", 2.0, **others)


class Posted(list):
    """Stands for a poster, and keeps what is posted."""

    def post(self, message):
        self.append(json.loads(json.dumps(message, allow_nan=False)))


@pytest.fixture
def posted():
    return Posted()


@pytest.fixture
def messages(posted):
    return Notifications(posted, study="alpha", launch="alpha-1")


def test_the_end_says_how_the_launch_stands(messages, posted):
    messages.watch(snapshot())
    messages.end(ending())
    (message,) = posted
    assert (message["format"], message["event"], message["status"]) == (1, "ended", "finished")
    assert (message["study"], message["launch"], message["reason"]) == ("alpha", "alpha-1", "")
    assert message["trials"] == {"planned": 4, "ended": 2, "by_status": {"finished": 1, "diverged": 1}}
    assert message["failed"] == {"diverged": 1}, "what the search stopped has not failed"
    (best,) = message["best"]
    assert (best["configuration"], best["mean"], best["seeds"]) == ("maskpro 2:4 alpha=0.99", 118.9, 3)
    assert (best["baseline"], best["baseline_mean"], best["fresh_mean"]) == ("wanda 2:4", 132.6, None)
    text = "alpha-1 finished: 2 of 4 trials in 1m00s; 1 diverged; best so far 118.9, best baseline 132.6"
    assert message["text"] == text


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ending(LaunchStatus.STOPPED, interrupted=True), "interrupted by a signal"),
        (ending(undelivered="the store is locked"), "MLflow does not have all records: the store is locked"),
        (LaunchEnding(LaunchStatus.FINISHED, {"diverged": 2}, 1, "verified", 2.0), "no trial finished"),
        (ending(search_stopped="search stopped after 3 of 9"), "search stopped after 3 of 9"),
    ],
)
def test_the_end_says_why_it_was_not_as_planned(messages, posted, found, reason):
    messages.end(found)
    assert [(message["event"], message["status"], message["reason"]) for message in posted] == [
        ("ended", found.status, reason)
    ]


def test_a_full_disk_is_said_when_it_begins_and_not_again_soon(messages, posted, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(of_driver.time, "monotonic", lambda: now[0])
    for trouble in ({}, FULL, FULL, {}, FULL, {"mlflow": "MLflow takes nothing"}):
        messages.watch(snapshot(trouble=trouble))
    assert [message["event"] for message in posted] == ["disk full"]
    assert posted[0]["reason"] == FULL["disk"]
    assert "waits for room on a disk" in posted[0]["text"]
    now[0] += 3600
    messages.watch(snapshot(trouble=FULL))
    assert len(posted) == 2


def test_a_store_on_a_full_disk_counts_too(messages, posted):
    messages.watch(snapshot(trouble={"mlflow": "MLflow takes nothing (database or disk is full)"}))
    assert [message["event"] for message in posted] == ["disk full"]


def test_values_that_json_has_no_word_for_are_left_out():
    best = {**STANDING, "mean": float("inf"), "baseline_mean": float("nan")}
    message = notification("ended", snapshot(best=[best]))
    assert json.loads(json.dumps(message, allow_nan=False))["best"][0]["mean"] is None


# --- around a launch --------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver():
    found = Receiver(200)
    yield found
    found.close()


@pytest.fixture
def url(receiver):
    return secret_url(receiver.url, what="--notify")


def run(url, work):
    """Run ``work`` as a launch runs, with its messages."""
    with notifications(url, study="alpha", launch="alpha-1") as messages:
        work(messages)


def test_an_error_that_ends_the_launch_is_posted_with_its_reason(receiver, url):
    def work(messages):
        messages.watch(snapshot())
        raise SweepError("no replica is left to run trials; see http://u:pw@host")

    with pytest.raises(SweepError):
        run(url, work)
    (message,) = receiver.bodies
    assert message["event"] == "failed"
    assert message["reason"] == "no replica is left to run trials; see http://u:***@host"
    assert message["failed"] == {"diverged": 1}


@pytest.mark.parametrize("error", [OwnedError("another process owns it"), KeyboardInterrupt()])
def test_a_launch_that_goes_on_elsewhere_has_not_failed(receiver, url, error):
    with pytest.raises(type(error)), notifications(url, study="alpha", launch="alpha-1"):
        raise error
    assert receiver.bodies == []


def test_what_fails_after_the_end_is_not_posted_as_another_end(receiver, url):
    def work(messages):
        messages.end(ending())
        raise RuntimeError("no report")

    with pytest.raises(RuntimeError):
        run(url, work)
    assert [message["event"] for message in receiver.bodies] == ["ended"]


def test_nothing_that_a_launch_starts_inherits_the_address(url, monkeypatch):
    monkeypatch.setenv("NMLAB_NOTIFY", f"http://host/{SECRET}")
    for given in (url, None):
        with notifications(given, study="alpha", launch="alpha-1"):
            assert "NMLAB_NOTIFY" not in os.environ
        assert os.environ["NMLAB_NOTIFY"] == f"http://host/{SECRET}"


def test_without_an_address_snapshots_are_only_shown():
    shown = []
    with notifications(None, study="alpha", launch="alpha-1") as messages:
        assert both(shown.append, messages) == shown.append
        assert messages is None


def test_a_snapshot_is_shown_and_followed(messages, posted):
    shown = []
    both(shown.append, messages)(snapshot(trouble=FULL))
    assert len(shown) == len(posted) == 1


def test_the_guide_has_every_field_of_a_message():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    section = guide.split("### Notifications\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert documented == set(notification("ended", snapshot()))
    for name in notification("ended", snapshot())["best"][0]:
        assert f"`{name}`" in section
