"""The trials of a snapshot by configuration: the seeds of one together, fresh seeds apart, failures by their reason."""

from nmlab.platform.launches.view.groups import (
    by_configuration,
    ended_as,
    failures,
    running,
    shared_settings,
)


def trial(configuration, seed=0, status="finished", *, value=30.0, reason="", **others):
    return {
        "label": f"maskpro 2:4 {configuration}",
        "seed": seed,
        "configuration": configuration,
        "method": "maskpro",
        "pattern": "2:4",
        "settings": {"alpha": configuration, "steps": "10"},
        "status": status,
        "perplexity": value if status == "finished" else None,
        "reason": reason,
        "ended": status != "running",
        **others,
    }


def snapshot(*trials):
    return {"trials": {str(number): own for number, own in enumerate(trials)}}


def seeds(groups):
    return [[own["seed"] for own in group.trials] for group in groups]


def test_seeds_stand_together_in_the_order_in_which_configurations_came():
    groups = by_configuration([trial("b", 0), trial("a", 0), trial("b", 1), trial("a", 1)])
    assert [group.first["configuration"] for group in groups] == ["b", "a"]
    assert seeds(groups) == [[0, 1], [0, 1]]


def test_fresh_seeds_of_a_configuration_are_a_group_of_their_own():
    search, fresh = by_configuration([trial("a", 0), trial("a", 5, confirmation=True), trial("a", 1)])
    assert (seeds([search, fresh]), fresh.is_confirmation) == ([[0, 1], [5]], True)
    assert search.identity != fresh.identity


def test_a_group_is_complete_once_as_many_as_planned_have_ended():
    (group,) = by_configuration([trial("a", 0), trial("a", 1, "running")])
    assert not group.is_complete(2)
    (ended,) = by_configuration([trial("a", 0), trial("a", 1, "diverged")])
    assert ended.is_complete(2)
    assert not ended.is_complete(3), "one has not begun"
    assert [own["seed"] for own in ended.finished()] == [0]


def test_only_what_runs_is_running():
    found = running(snapshot(trial("a", 0), trial("a", 1, "running"), trial("b", 0, "running")))
    assert seeds(found) == [[1], [0]]


def test_failures_that_differ_in_numbers_alone_are_one_and_the_most_frequent_comes_first():
    lost = [trial("a", seed, "failed", reason="disk full") for seed in (0,)]
    diverged = [trial("b", seed, "diverged", reason=f"loss {6 + seed}.25 at step {seed}") for seed in (0, 1)]
    first, second = failures(snapshot(*lost, *diverged, trial("c", 0, "diverged", reason="loss 7 at step 3")))
    assert (first.count, first.reason, seeds(first.configurations)) == (3, "loss 7 at step 3", [[0, 1], [0]])
    assert (second.count, second.status, second.reason) == (1, "failed", "disk full")


def test_what_the_search_stopped_is_no_failure_and_what_a_person_stopped_is_one():
    early = trial("a", 0, "stopped", reason="stopped early: worse than half")
    by_hand = trial("b", 0, "stopped", reason="interrupted")
    assert [group.reason for group in failures(snapshot(early, by_hand))] == ["interrupted"]
    assert (ended_as(early), ended_as(by_hand)) == ("stopped early", "stopped")


def test_shared_settings_are_those_of_all_groups_and_of_one_alone_none():
    groups = by_configuration([trial("a"), trial("b")])
    assert shared_settings(groups) == {"steps": "10"}
    assert groups[0].text(without=shared_settings(groups)) == "alpha=a"
    assert shared_settings(groups[:1]) == {}


def test_a_status_of_an_earlier_version_shows_labels():
    old = {key: value for key, value in trial("a").items() if key not in ("method", "settings")}
    (group,) = by_configuration([old])
    assert (group.kind, group.text()) == ("", "maskpro 2:4 a")
