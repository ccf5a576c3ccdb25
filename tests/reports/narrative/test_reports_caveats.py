"""Before you trust these numbers: every caveat, where runs diverged, and the commands to go on with."""

import json
import math
import re

import numpy as np
import pytest

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.space.diverged_region import diverged_region
from nmlab.reports.analysis.starts import has_telling_start
from nmlab.reports.analysis.statements import change_text, quality
from nmlab.reports.narrative.caveats import caveats_of
from nmlab.reports.narrative.caveats.outcomes import outcome_caveats
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.read.collect import collect
from nmlab.reports.read.objective import Objective
from nmlab.reports.render import html_text, json_text, markdown_text
from nmlab.reports.render.commands import commands_of
from nmlab.reports.report import document_of

LOWER = Objective("eval/perplexity", "min")


def analysed(writer, store, study, trials, **others):
    writer.launch(study, trials, name=f"{study}-1", **others)
    return analyse(store, runs=collect(store, study=study))


def spread(trial, magnitudes, *, diverges):
    """Three seeds of each magnitude; those that diverge have no value."""
    return [
        trial(
            "maskpro",
            seed,
            None if diverges(value, seed) else 50.0 + value + seed,
            90.0,
            {"logit_magnitude": str(value), "initial_mask": "wanda"},
            residual=[0.0],
            status="diverged" if diverges(value, seed) else "finished",
        )
        for value in magnitudes
        for seed in range(3)
    ]


# --- where runs diverged ----------------------------------------------------------------------------------------


def test_a_threshold_that_tells_diverged_runs_apart_is_named(writer, store, trial):
    trials = spread(trial, (1, 2, 3, 4, 5, 6, 7, 8), diverges=lambda value, seed: value < 5)
    found = caveats_of(analysed(writer, store, "below", trials))
    assert (
        "12 of 24 runs diverged, all with logit_magnitude < 5, and none of the others. Means leave out diverged runs."
        in found
    )


@pytest.mark.parametrize(
    ("diverges", "text"),
    [
        (lambda value, seed: value > 6, "all with magnitude > 6, and none of the others"),
        (lambda value, seed: value == 4, "all with magnitude = 4, and none of the others"),
        (
            lambda value, seed: value < 5 and (value, seed) != (4, 2),
            "all with magnitude < 5, where 11 of 12 runs diverged",
        ),
        (lambda value, seed: (value + seed) % 4 == 0, "in 6 configurations: "),
        (lambda value, seed: (value, seed) == (3, 1), "in 1 configuration: "),
    ],
)
def test_only_what_tells_them_apart_is_named(configuration, diverges, text):
    items = [
        configuration(
            [math.nan if diverges(value, seed) else 50.0 + value + seed for seed in range(3)], magnitude=value
        )
        for value in range(1, 9)
    ]
    (own,) = [caveat for caveat in outcome_caveats(items) if " diverged, " in caveat]
    assert text in own


def test_words_and_settings_that_only_some_have_tell_apart_too(configuration):
    items = [configuration([math.nan] * 2 if sampler == "gauss" else [1.0, 2.0], sampler=sampler, lr=lr)
             for sampler in ("gauss", "exact") for lr in (0.1, 0.2)]  # fmt: skip
    items.append(configuration([1.0, 2.0], method="susi"))
    (region,) = diverged_region(items)
    assert (region.condition, region.is_exact, region.inside) == ("sampler = gauss", True, 4)
    assert diverged_region(items[2:]) == ()


# --- other caveats ----------------------------------------------------------------------------------------------


def test_what_was_stopped_early_failed_or_lacks_a_seed_is_counted(writer, store, trial):
    early = {"status": "stopped", "reason": "stopped early: rung at step 20"}
    trials = [trial("maskpro", seed, 50.0 + seed, 90.0, {"alpha": "0.9"}, residual=[0.0]) for seed in range(3)]
    trials += [trial("maskpro", seed, None, 90.0, {"alpha": "0.8"}, residual=[0.0], **early) for seed in range(3)]
    trials += [trial("maskpro", seed, 60.0 + seed, 90.0, {"alpha": "0.7"}, residual=[0.0]) for seed in range(2)]
    trials += [trial("maskpro", seed, None, 90.0, {"alpha": "0.6"}, status=status)
               for seed, status in enumerate(("failed", "oom", "stopped"))]  # fmt: skip
    found = analysed(writer, store, "outcomes", trials)
    text = " ".join(caveats_of(found))
    assert "1 of 4 searched configurations was stopped early (3 runs)" in text
    assert "Left out of all means: 1 run failed and 1 run ran out of memory." in text
    assert "Left out of all means, because stopped or not ended: 1 run." in text
    assert "1 configuration lacks a run, and so has no rank: " in text
    assert "(2 of 3 finished)" in text  # of the third seed nothing was recorded
    outcome = next(line for line in headline_of(found.runs, configurations=found.configurations) if "planned" in line)
    assert outcome == "11 of 11 planned runs recorded: 5 finished, 2 failed, 3 stopped early, 1 unfinished."


def test_selection_seeds_windows_costs_digests_and_versions_are_reported(writer, store, trial):
    other = {"nmlab.versions": json.dumps({"nmlab": "0.1.0", "torch": "2.13.0", "numpy": "9"}), "nmlab.data_digest": ""}
    trials = [trial("maskpro", 0, value, 90.0, {"alpha": str(value)}, residual=[0.0]) for value in (50.0, 60.0)]
    trials.append(trial("wanda", 0, 70.0, role="baseline", tags=other, metrics={"cost/seconds": math.nan}))
    trials.append(trial("ria", 0, 70.0, role="baseline", tags={"nmlab.versions": json.dumps({"numpy": "8"})}))
    tags = {"nmlab.git_dirty": "true"}
    text = " ".join(caveats_of(analysed(writer, store, "basis", trials, tags=tags)))
    assert "Run from a dirty tree" in text
    assert (
        "Selected on the text it reports: the best of 2 configurations was chosen on the same evaluation text;" in text
    )
    assert "Every trained configuration has only one finished seed" in text
    assert "The cost of 1 of 4 runs is not known" in text
    assert "The digest of the data is not recorded in 1 of 4 finished runs." in text
    assert "Runs had different versions of numpy: 8 (1 run), 9 (1 run)." in text


@pytest.mark.usefixtures("undrawn")
def test_too_few_windows_are_told_in_every_place(writer, store, trial, monkeypatch):
    monkeypatch.setattr("nmlab.reports.analysis.pairwise.evaluation.FEWEST_WINDOWS", 13)
    monkeypatch.setattr("nmlab.reports.analysis.pairwise.reasons.FEWEST_WINDOWS", 13)
    monkeypatch.setattr("nmlab.reports.narrative.caveats.basis.FEWEST_WINDOWS", 13)
    trials = [trial(method, 0, value, role="baseline") for method, value in (("wanda", 60.0), ("magnitude", 70.0))]
    writer.launch("few-windows", trials, name="few-windows-1")
    document = document_of(store, study="few-windows")
    rest = next(table for table in document.tables if table.key == "rivals")
    assert rest.notes == ("No test was possible: 12 windows, a test needs at least 13.",)
    assert [cell.value for cell in rest.column("verdict")] == ["not tested: 12 windows, a test needs at least 13"]
    assert any("has 12 windows; a test over windows needs at least 13" in text for text in document.warnings)
    assert document.headline[1] == (
        "Of the 2 masks in the summary, wanda has the best mean, but no test was possible: "
        "12 windows, a test needs at least 13."
    )


# --- numbers in sentences ---------------------------------------------------------------------------------------


def test_a_difference_of_nothing_is_neither_better_nor_worse():
    assert change_text(0.004, objective=LOWER, of="wanda") == "no different (0.00) from wanda"
    assert change_text(-0.0049, objective=LOWER, of="wanda", note="better") == "no different (0.00) from wanda"
    assert change_text(-0.006, objective=LOWER, of="wanda", note="better") == "0.01 lower (better) than wanda"
    assert quality(-1.0, objective=Objective("eval/quiz/acc", "max")) == "worse"


def test_what_rounds_to_nothing_is_said_so_in_the_headline(writer, store, trial):
    trials = [trial("maskpro", seed, 80.001 + seed / 1000, 80.0, residual=[0.0]) for seed in range(3)]
    trials.append(trial("wanda", 0, 80.0, role="baseline"))
    text = " ".join(
        headline_of((found := analysed(writer, store, "alike", trials)).runs, configurations=found.configurations)
    )
    assert "no different (0.00) from its own initial mask" in text
    assert "no different (0.00) from the wanda mask's 80.00" in text
    assert "0.00 higher" not in text


@pytest.mark.parametrize(
    ("start", "initial", "telling"),
    [
        ("wanda", 120.0, True),
        ("random", 120.0, False),
        ("none", 120.0, False),
        (None, 11_400.0, False),
        (None, 120.0, True),
    ],
)
def test_a_gain_over_random_logits_is_no_finding(writer, store, trial, start, initial, telling):
    params = {"initial_mask": start} if start else {}
    study = f"start-{start}-{initial:.0f}"
    trials = [trial("susi", seed, 66.0 + seed, initial, params, residual=[0.0]) for seed in range(3)]
    trials.append(trial("wanda", 0, 110.0, role="baseline"))
    found = analysed(writer, store, study, trials)
    best = next(item for item in found.configurations if item.method == "susi")
    assert has_telling_start(best, members=found.configurations) is telling
    text = " ".join(headline_of(found.runs, configurations=found.configurations))
    assert ("than its own initial mask" in text) is telling
    assert "43.00 lower (better: p < 0.001, 3 seeds) than the wanda mask's 110.00" in text


# --- what next --------------------------------------------------------------------------------------------------


def test_a_narrow_learning_rate_is_widened_and_more_seeds_say_what_they_detect(writer, store, trial):
    trials = [
        trial("susi", seed, value + seed * step, None, {"learning_rate": str(rate)}, residual=[0.0])
        for rate, value, step in ((0.045, 80.0, 1.0), (0.05, 80.5, 0.2), (0.052, 79.5, 2.0))
        for seed in range(3)
    ]
    writer.launch("narrow", trials, name="narrow-1", params={"search.algorithm": "grid"})
    found = analyse(store, runs=collect(store, study="narrow"))
    wider, more, *later = commands_of(found, tracking_uri="sqlite:///nmlab.db")
    assert wider.line == (
        "nmlab extend narrow-1 --set 'space.learning_rate={grid: [0.011, 0.022, 0.045, 0.05, 0.052, 0.1, 0.21]}'"
    )
    assert wider.does == "Try a wider range of learning_rate: 0.045 to 0.052 is a factor of 1.2"
    assert more.line == "nmlab extend narrow-1 --set 'seeds=[0, 1, 2, 3, 4, 5]'"
    after, now = map(float, re.search(r": detects about (\S+)%, now (\S+)%; at most 9 more runs, ", more.does).groups())
    assert after == pytest.approx(now / 2**0.5, rel=0.06)
    assert "export" not in later[0].line, "nothing was told apart"
    assert "learning_rate=" in later[0].does


@pytest.mark.parametrize(("start", "proposes"), [(90.0, True), (None, True), ("own", False)])
def test_more_runs_are_not_proposed_where_most_end_where_they_started(writer, store, trial, start, proposes):
    steps = ((0.1, 80.0, 1.0), (1.0, 80.5, 0.2))
    values = [(rate, seed, value + seed * step) for rate, value, step in steps for seed in range(3)]
    trials = [
        trial("susi", seed, value, value if start == "own" else start, {"learning_rate": str(rate)}, residual=[0.0])
        for rate, seed, value in values
    ]
    name = f"unmoved-{start}"
    writer.launch(name, trials, name=f"{name}-1", params={"search.algorithm": "grid"})
    found = commands_of(analyse(store, runs=collect(store, study=name)), tracking_uri="sqlite:///nmlab.db")
    assert any("--set 'seeds=" in command.line for command in found) is proposes


def test_a_baseline_that_is_better_is_the_first_thing_to_look_at(writer, store, trial):
    trials = [trial("maskpro", seed, 80.0 + seed, None, {"alpha": "0.9"}, residual=[0.0]) for seed in range(3)]
    better = trial("wanda", 0, 60.0, role="baseline")
    writer.launch("overtaken", [*trials, better], name="overtaken-1")
    found = analyse(store, runs=collect(store, study="overtaken"))
    first = commands_of(found, tracking_uri="sqlite:///nmlab.db")[0]
    assert first.line == f"nmlab diff {trials[0].configuration}00000000 {better.configuration}00000000"
    assert "wanda, which is better" in first.does


@pytest.mark.usefixtures("undrawn")
def test_the_report_ends_with_commands_that_are_ready(writer, store, trial):
    trials = [
        trial("maskpro", seed, value + seed, 90.0, {"alpha": str(value)}, residual=[0.0])
        for value in (50.0, 60.0)
        for seed in range(2)
    ]
    writer.launch("commanded", trials, name="commanded-1", tags={"nmlab.status": "stopped"})
    found = analyse(store, runs=collect(store, study="commanded"))
    key, other = (f"{trials[place].configuration}00000000" for place in (0, 2))
    assert [command.line for command in commands_of(found, tracking_uri="sqlite:///nmlab.db")] == [
        f"nmlab export {key} --format hf --output exported-model",
        f"nmlab evaluate {key}",
        f"nmlab diff {key} {other}",
        "nmlab resume commanded-1",
    ]
    assert commands_of(found, tracking_uri="sqlite:///a b.db")[1].line.endswith(" --tracking-uri 'sqlite:///a b.db'")
    secret = commands_of(found, tracking_uri="http://me:hidden@host:5000")
    assert not any("hidden" in command.line for command in secret)
    document = document_of(store, study="commanded")
    line = f"nmlab evaluate {key} --tracking-uri {store.uri}"
    assert f"`{line}`" in markdown_text(document)
    assert f"<code>{line}</code>" in html_text(document)
    assert line in [command["command"] for command in json.loads(json_text(document))["commands"]]


@pytest.mark.usefixtures("undrawn")
def test_the_winner_is_in_json(writer, store, trial):
    rng = np.random.default_rng(5)
    trials = [
        trial("maskpro", seed, value + rng.random(), 90.0, {"alpha": str(value)}, residual=[0.0])
        for value in (30.0, 60.0, 61.0)
        for seed in range(3)
    ]
    writer.launch("winner-json", trials, name="winner-json-1")
    (winner,) = json.loads(json_text(document_of(store, study="winner-json")))["winners"]
    assert (winner["best"], winner["is_claimed"]) == (trials[0].configuration, True)
    assert {other["configuration"] for other in winner["against_all"]} == {
        trials[3].configuration,
        trials[6].configuration,
    }
    assert [other["verdict"] for other in winner["against_all"]] == ["worse", "worse"]


# --- a search that stopped --------------------------------------------------------------------------------------


def test_a_search_that_stopped_is_named_with_what_was_not_run(writer, store, trial):
    line = (
        "search stopped after 1 of 6 configurations: 12 of 12 forwards are used (budget.total); 15 trials were not run"
    )
    trials = spread(trial, (1,), diverges=lambda value, seed: False)
    stopped = analysed(writer, store, "stopped", trials, tags={"nmlab.search_stopped": line})
    assert f"The {line}." in caveats_of(stopped)
    assert f"The {line}." in markdown_text(document_of(store, study="stopped"))
    whole = analysed(writer, store, "whole", trials)
    assert not any("stopped after" in caveat for caveat in caveats_of(whole))
