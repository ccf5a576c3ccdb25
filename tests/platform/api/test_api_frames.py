"""Frames and values of launches with validation text and fresh seeds, made from records without a store."""

import math
from dataclasses import replace
from types import SimpleNamespace

from nmlab.platform.api.frames import configurations_frame, trials_frame
from nmlab.platform.api.reading import best_of_launch, configuration_of_launch
from nmlab.platform.api.sweep_result import SweepResult
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import TrialRecord

EVALUATED, SELECTED = "eval/perplexity", "validation/perplexity"
MEANS = {0.9: (20.0, 31.0), 0.99: (22.0, 25.0)}
"""On validation and on evaluation text, by alpha."""


def record(alpha, seed, *, selected, evaluated):
    return TrialRecord(
        run_id=f"{alpha}-{seed}",
        trial_key=f"{alpha}-{seed}",
        configuration=f"key-{alpha}",
        role="search",
        method="maskpro",
        pattern="2:4",
        seed=seed,
        status="finished",
        settings={"alpha": alpha},
        metrics={SELECTED: selected, EVALUATED: evaluated},
    )


def launched():
    trials = [
        record(alpha, seed, selected=selected + seed, evaluated=evaluated + seed)
        for alpha, (selected, evaluated) in MEANS.items()
        for seed in (0, 1)
    ]
    again = [record(0.9, seed, selected=23.0, evaluated=33.0 + seed) for seed in (2, 3, 4)]
    trials += [replace(trial, is_confirmation=True) for trial in again]
    rule = replace(record(0.0, 0, selected=50.0, evaluated=60.0), role="baseline", method="wanda", settings={})
    runs = SimpleNamespace(
        trials=(*trials, rule),
        settings=("alpha",),
        objective=Objective(SELECTED, "min"),
        fresh_seeds=4,
        expected={},
    )
    return runs, SweepResult("study", "launch-1", "finished", {}, folder=None, tracking_uri="sqlite:///none.db")


def test_a_frame_of_configurations_says_what_selected_and_what_fresh_seeds_found():
    frame = configurations_frame(launched()[0])
    assert frame["alpha"].tolist()[:2] == [0.9, 0.99], "in the order of what selects"
    rows = frame.set_index("configuration")
    first, second, rule = (rows.loc[f"key-{alpha}"] for alpha in (0.9, 0.99, 0.0))
    assert set(frame["metric"]) == {EVALUATED}
    assert set(frame["selected_by"]) == {SELECTED}
    assert (first["mean"], first["n"], first["planned"], first["rank"]) == (31.5, 2, 2, 1)
    assert (first["selected_mean"], second["selected_mean"]) == (20.5, 22.5)
    assert (second["mean"], second["rank"], second["looked_at"]) == (25.5, 2, 2)
    assert (first["fresh_mean"], first["fresh_n"]) == (36.0, 3)
    assert first["fresh_low"] < 36.0 < first["fresh_high"]
    assert math.isnan(second["fresh_mean"])
    assert rule[["looked_at", "fresh_n"]].isna().all()
    kinds = {"selected_mean": "float64", "fresh_mean": "float64", "fresh_n": "Int64", "looked_at": "Int64"}
    assert {name: str(frame[name].dtype) for name in kinds} == kinds


def test_a_frame_of_trials_tells_fresh_seeds_apart():
    frame = trials_frame(launched()[0])
    assert str(frame["confirmation"].dtype) == "bool"
    assert sorted(frame[frame["confirmation"]]["seed"]) == [2, 3, 4]


def test_the_best_is_that_of_the_search_and_has_its_fresh_seeds():
    runs, result = launched()
    best = best_of_launch(result, runs, method=None, pattern=None)
    assert (best.key, best.metric, best.mean) == ("key-0.9", EVALUATED, 31.5)
    assert (best.selected_by, best.selected_mean, best.looked_at) == (SELECTED, 20.5, 2)
    assert (best.fresh_mean, best.fresh_n, best.n) == (36.0, 3, 2)
    assert best.seeds == (0, 1, 2, 3, 4)
    assert best.trial.seed == 0, "the trial that stands for it is one of the search"
    shown = best._repr_html_()
    assert "on fresh seeds" in shown
    assert "selected by validation/perplexity" in shown
    rule = configuration_of_launch(result, runs, key="key-0.0")
    assert (rule.looked_at, rule.fresh_n, rule.selected_mean) == (0, 0, 50.0)


def test_frames_have_the_metrics_of_neutral_texts():
    runs, _ = launched()
    assert not any("neutral" in name for name in configurations_frame(runs).columns)
    name, start = "neutral/news/perplexity", "initial/neutral/news/perplexity"
    measured = [
        replace(trial, metrics={**trial.metrics, name: 90.0 + trial.seed, start: 99.0})
        for trial in runs.trials
        if trial.method == "maskpro"
    ]
    rule = next(trial for trial in runs.trials if trial.method == "wanda")
    runs.trials = (*measured, rule)
    assert trials_frame(runs)[start].dropna().unique().tolist() == [99.0]
    frame = configurations_frame(runs).set_index("configuration")
    assert frame.loc["key-0.9", name] == 90.5, "over the seeds of the search, as the mean"
    assert math.isnan(frame.loc["key-0.0", name])
    assert str(frame[name].dtype) == "float64"
