"""Several launches of one study as one: each trial once, what was evaluated unlike refused by name."""

from dataclasses import replace

import pytest

from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.narrative.provenance import provenance_of, warnings_of
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.pool import collect_pool
from nmlab.reports.read.store import open_store
from nmlab.reports.report import document_of

LIMIT = {"search.constraints.memory/peak_bytes.max": "2e9"}
OTHER_TEXT = {"nmlab.data_digest": "sha256:cc33"}


@pytest.fixture
def searched(trial):
    """Return a function that gives a searched configuration with these seeds, which end near its alpha."""

    def make(alpha, *seeds, **others):
        params = {"alpha": str(alpha), "steps": "100", **others.pop("params", {})}
        return [trial("maskpro", seed, 100 * alpha + seed / 10, 120.0, params=params, **others) for seed in seeds]

    return make


@pytest.fixture
def baseline(trial):
    return [trial("dense", 0, 40.0, role="baseline"), trial("wanda", 0, 110.0, role="baseline")]


def launches(writer, study, *parts, tags=({}, {}), params=({}, {})):
    """Write two launches of a study, and return the store."""
    for number, trials in enumerate(parts, start=1):
        own = {"tags": tags[number - 1], "params": params[number - 1]}
        writer.launch(study, trials, name=f"{study}-{number}", **own)
    return open_store(writer.uri)


def pool(store, study, names=(1, 2), **others):
    return collect_pool(store, study=study, launches=[f"{study}-{number}" for number in names], **others)


def by_alpha(runs):
    return {item.settings["alpha"]: item for item in configurations_of(runs) if "alpha" in item.settings}


def facts(runs):
    return {section.title: list(section.facts) for section in provenance_of(runs, check=None)}


def test_a_trial_that_two_launches_ran_counts_once(writer, searched, baseline):
    first = [*baseline, *searched(0.9, 0, 1), *searched(0.95, 0, 1)]
    second = [*baseline, *searched(0.95, 0, 1), *searched(0.99, 0, 1)]
    store = launches(writer, "pool-once", first, second)
    runs = pool(store, "pool-once")
    found = {item.key: item for item in configurations_of(runs)}
    assert len(found) == 2 + 3
    assert {len(item.trials) for item in found.values() if not item.is_baseline} == {2}
    assert all(item.is_complete for item in found.values())
    assert (runs.count("finished"), runs.count("duplicate")) == (2 + 3 * 2, 4)
    assert runs.launch.planned_runs == runs.recorded == 8
    assert not any("Planned" in line for line in warnings_of(runs, check=None))


def test_a_launch_that_finished_a_trial_counts_rather_than_one_that_failed(writer, searched, baseline):
    failed = [replace(each, status="failed", final=None, initial=None) for each in searched(0.9, 0)]
    store = launches(writer, "pool-failed", [*baseline, *searched(0.9, 0)], [*baseline, *failed])
    (item,) = [each for each in configurations_of(pool(store, "pool-failed")) if not each.is_baseline]
    assert [trial.status for trial in item.trials] == ["finished"]


def test_other_seeds_of_a_configuration_join_it_and_those_that_lack_none_are_complete(writer, searched, baseline):
    """One configuration ran in both launches, with two seeds in each; two others in one of them."""
    first = [*baseline, *searched(0.9, 0, 1), *searched(0.95, 0, 1)]
    second = [*baseline, *searched(0.9, 2, 3), *searched(0.99, 2, 3)]
    store = launches(writer, "pool-seeds", first, second)
    found = [item for item in configurations_of(pool(store, "pool-seeds")) if not item.is_baseline]
    assert sorted((item.settings["alpha"], len(item.trials), item.runs_in_all, item.is_complete) for item in found) == [
        (0.9, 4, 4, True),
        (0.95, 2, 2, True),
        (0.99, 2, 2, True),
    ]


def test_one_that_lacks_a_seed_in_its_launch_is_incomplete(writer, searched, baseline):
    first = [*baseline, *searched(0.9, 0, 1), *searched(0.95, 0)]
    store = launches(writer, "pool-lacks", first, [*baseline, *searched(0.9, 2, 3)])
    found = {
        item.settings["alpha"]: item
        for item in configurations_of(pool(store, "pool-lacks"))
        if item.settings.get("alpha")
    }
    assert (found[0.95].runs_in_all, found[0.95].is_complete) == (2, False)


def test_a_seed_that_any_launch_searched_with_confirms_nothing(writer, searched, baseline):
    fresh = {"tags": {"nmlab.confirmation": "true"}}
    first = [*baseline, *searched(0.9, 0, 1), *searched(0.9, 2, 3, **fresh)]
    second = [*baseline, *searched(0.95, 1, 2)]
    tags = ({"nmlab.confirmation_seeds": "2,3"}, {})
    store = launches(writer, "pool-fresh", first, second, tags=tags)
    found = {
        item.settings["alpha"]: item
        for item in configurations_of(pool(store, "pool-fresh"))
        if item.settings.get("alpha")
    }
    assert [trial.seed for trial in found[0.9].trials] == [0, 1, 2]
    assert [trial.seed for trial in found[0.9].confirmation.trials] == [3]
    assert found[0.9].confirmation.is_complete
    alone = collect(store, study="pool-fresh", launch="pool-fresh-1")
    (own,) = [item for item in configurations_of(alone) if item.settings.get("alpha")]
    assert [trial.seed for trial in own.confirmation.trials] == [2, 3]


def test_what_was_evaluated_unlike_is_refused_in_one_line_that_names_it(writer, searched, baseline, undrawn):
    other = [replace(each, tags=OTHER_TEXT) for each in [*baseline, *searched(0.95, 0, 1)]]
    store = launches(writer, "pool-text", [*baseline, *searched(0.9, 0, 1)], other)
    names = ["pool-text-1", "pool-text-2"]
    with pytest.raises(ReportError, match="the digest of the data differs") as refused:
        document_of(store, study="pool-text", launch=names)
    line = str(refused.value)
    assert "sha256:bb22 (2 runs of pool-text-1" in line
    assert "sha256:cc33 (4 runs of pool-text-2" in line
    assert "\n" not in line
    document = document_of(store, study="pool-text", launch=names, mixed=True)
    assert any("Not evaluated alike: the digest of the data differs" in warning for warning in document.warnings)


def test_other_windows_are_refused_although_one_launch_may_have_both(writer, searched, baseline, undrawn):
    few = {"params": {"data.evaluation.windows": "4"}}
    store = launches(writer, "pool-windows", [*baseline, *searched(0.9, 0, 1)], searched(0.95, 0, 1, **few))
    with pytest.raises(ReportError, match=r"data\.evaluation\.windows differs: 4 \(2 runs of pool-windows-2"):
        document_of(store, study="pool-windows", launch=["pool-windows-1", "pool-windows-2"])


@pytest.mark.parametrize(
    ("params", "line"),
    [
        (
            {"search.metric": "eval/word_perplexity"},
            "search.metric is eval/perplexity in {0}-1 and eval/word",
        ),
        (LIMIT, "search.constraints.memory/peak_bytes.max is not set in {0}-1 and 2e9 in {0}-2"),
    ],
)
def test_searches_by_other_metrics_or_constraints_are_refused(writer, searched, params, line):
    study = f"pool-other-{len(params)}-{len(line)}"
    store = launches(writer, study, searched(0.9, 0, 1), searched(0.95, 0, 1), params=({}, params))
    with pytest.raises(ReportError) as refused:
        pool(store, study)
    assert line.format(study) in str(refused.value)


def test_a_launch_that_is_named_twice_is_refused(writer, searched):
    store = launches(writer, "pool-twice", searched(0.9, 0, 1))
    with pytest.raises(ReportError, match="launch pool-twice-1 is named twice"):
        collect_pool(store, study="pool-twice", launches=["pool-twice-1", None])


def test_the_report_says_of_which_launches_it_is_made(writer, searched, baseline, undrawn):
    first, second = [*baseline, *searched(0.9, 0, 1)], [*baseline, *searched(0.95, 0, 1)]
    tags = ({}, {"nmlab.warm_start": "pool-made-1: 1 configuration with outcomes"})
    params = ({"search.samples": "1"}, {"search.samples": "2"})
    store = launches(writer, "pool-made", first, second, tags=tags, params=params)
    runs = pool(store, "pool-made", names=(2, 1))
    told = dict(facts(runs)["Study"])
    assert told["launches pooled"] == "2, each trial counted once"
    assert told["launch pool-made-1"].startswith(
        "finished, 4 runs, 2 of them counted with another launch, started 2026"
    )
    assert told["launch pool-made-2"].startswith("finished, 4 runs, started 2026")
    assert told["warm start (pool-made-2)"] == "pool-made-1: 1 configuration with outcomes"
    differing = facts(runs)["Settings that differ between the launches"]
    assert differing == [("search.samples", "1 (pool-made-1); 2 (pool-made-2)")]
    document = document_of(store, study="pool-made", launch=["pool-made-1", "pool-made-2"])
    assert ("launches pooled", "pool-made-1, pool-made-2") in document.facts
    assert ("runs", "6 finished of 6") in document.facts


def test_one_launch_says_what_its_search_started_from(writer, searched, baseline):
    line = "earlier-1: 6 configurations with outcomes"
    store = launches(writer, "pool-warm", [*baseline, *searched(0.9, 0)], tags=({"nmlab.warm_start": line},))
    assert ("warm start", line) in facts(collect(store, study="pool-warm"))["Study"]


def test_the_worst_state_of_any_launch_is_told(writer, searched, baseline):
    tags = ({"nmlab.status": "stopped", "nmlab.frozen_weights": "mismatch", "nmlab.planned": "9"}, {})
    store = launches(writer, "pool-state", [*baseline, *searched(0.9, 0)], [*baseline, *searched(0.95, 0)], tags=tags)
    runs = pool(store, "pool-state")
    warnings = warnings_of(runs, check=None)
    assert "Launch pool-state-1 is stopped, not finished: this report shows what it had recorded." in warnings
    assert any("The frozen weights CHANGED" in line for line in warnings)
    assert "Planned: 10 runs; recorded: 4." in warnings, "the first planned 9 and has 3"


def test_the_launch_whose_search_stopped_early_is_named(writer, searched, baseline, undrawn):
    """Also where it is not the newest."""
    tags = ({"nmlab.search_stopped": "search stopped at 60 forwards; 2 configurations were not run"}, {})
    store = launches(writer, "pool-stop", [*baseline, *searched(0.9, 0)], [*baseline, *searched(0.95, 0)], tags=tags)
    document = document_of(store, study="pool-stop", launch=["pool-stop-1", "pool-stop-2"])
    wanted = "In pool-stop-1 the search stopped at 60 forwards; 2 configurations were not run."
    assert wanted in document.warnings
