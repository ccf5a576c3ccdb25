"""The five tables of the small study, number by number."""

import pytest
from measured import with_metrics

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.read.collect import collect
from nmlab.reports.tables.comparison import (
    comparison_tables,
    configurations_table,
    cost_table,
    learned_table,
    runs_table,
    summary_table,
)
from nmlab.reports.values import cell_text


def texts(table, key):
    index = [column.key for column in table.columns].index(key)
    return [cell_text(row.cells[index], column=table.columns[index]) for row in table.rows]


def shown_marks(table, key):
    return [str(cell.mark) for cell in table.column(key)]


def test_summary(configurations):
    table = summary_table(configurations)
    assert texts(table, "mask") == [
        "dense (no mask)",
        "wanda",
        "magnitude",
        "maskpro, its initial mask (wanda)",
        "maskpro, best of 5",
    ]
    assert texts(table, "eval/perplexity") == [
        "40.00 (n = 1)",
        "120.00 (n = 1)",
        "140.00 (n = 1)",
        "120.0 ± 2.5",
        "80.0 ± 5.0",
    ]
    assert shown_marks(table, "eval/perplexity") == ["", "second", "", "second", "best"]
    assert texts(table, "setting")[-1] == "alpha=0.99"
    assert texts(table, "seeds") == ["1", "1", "1", "3", "3"]


def test_summary_shows_the_perplexity_that_the_study_asked_for_and_says_which(configurations):
    table = summary_table(configurations)
    assert [c.key for c in table.columns if c.key.startswith("eval/")] == ["eval/perplexity"]
    assert "perplexity is this study's token perplexity." in table.notes


def test_every_number_of_the_summary_names_its_runs(configurations, runs):
    known = {trial.run_id for trial in runs.trials}
    for cell in summary_table(configurations).column("eval/perplexity"):
        assert cell.run_ids
        assert set(cell.run_ids) <= known
        assert len(cell.run_ids) == cell.n


def test_learned_against_initial(configurations):
    table = learned_table(configurations)
    assert texts(table, "rank") == ["1", "2", "3", "", ""]
    assert texts(table, "setting") == ["0.99", "0.95", "0.995", "0.9", "0.7"]
    assert texts(table, "initial/perplexity")[0] == "120.0 ± 2.5"
    assert texts(table, "eval/perplexity")[:2] == ["80.0 ± 5.0", "85.0 ± 5.0"]
    assert texts(table, "difference") == [
        "−40.0 [−42.5, −37.5]",
        "−35.0 [−37.5, −32.5]",
        "−20.0 [−22.5, −17.5]",
        "−25 [−38, −12]",
        "+9.5 [+3.1, +15.9]",
    ]
    assert texts(table, "excludes_zero") == ["yes"] * 5
    assert shown_marks(table, "eval/perplexity") == ["best", "second", "", "", ""]


def test_learned_table_of_one_seed_has_no_interval(writer, store, trial):
    writer.launch("one-seed", [trial("maskpro", 0, 70.0, 80.0, residual=[0.0])], name="one-seed-1")
    table = learned_table(configurations_of(collect(store, study="one-seed")))
    assert texts(table, "difference") == ["−10.00 (n = 1)"]
    assert texts(table, "excludes_zero") == ["one seed"]
    assert "One seed gives a difference but no interval." in table.notes


def test_configurations(configurations):
    table = configurations_table(configurations)
    assert texts(table, "method") == ["maskpro"] * 5 + ["dense", "wanda", "magnitude"]
    assert texts(table, "alpha") == ["0.99", "0.95", "0.995", "0.9", "0.7", "", "", ""]
    assert texts(table, "finished") == ["3", "3", "3", "2", "2", "1", "1", "1"]
    assert texts(table, "diverged") == ["0", "0", "0", "0", "1", "0", "0", "0"]
    assert texts(table, "failed") == ["0", "0", "0", "1", "0", "0", "0", "0"]
    assert "unfinished" not in [column.key for column in table.columns]
    assert table.notes == (
        "The same in every searched configuration: initial_mask=wanda, logit_magnitude=6, steps=100.",
    )


def test_baselines_of_one_method_show_their_settings(configuration):
    size = "data.calibration.samples"
    items = [
        configuration([70.0, 71.0], alpha=0.9, **{size: 128}),
        configuration([72.0, 73.0], alpha=0.99, **{size: 128}),
        configuration([90.0], method="wanda", role="baseline", **{size: 128}),
        configuration([95.0], method="wanda", role="baseline", **{size: 1}),
        configuration([99.0], method="magnitude", role="baseline"),
    ]
    for item in items:
        with_metrics(item, {"cost/seconds": 1.0})
    table = configurations_table(items)
    assert [cell.value for cell in table.column(size)] == [128, 128, 128, 1, ""]
    assert [cell.value for cell in table.column("alpha")] == [0.9, 0.99, "", "", ""]
    settings = [cell.value for cell in cost_table(items).column("setting")]
    assert settings == ["alpha=0.9", "alpha=0.99", f"{size}=128", f"{size}=1", ""]


def test_a_configuration_that_lacks_a_seed_is_never_marked(writer, store, trial):
    trials = [
        trial("maskpro", seed, 50.0 if seed else None, 90.0, {"alpha": "0.9"}, residual=[0.0], status=status)
        for seed, status in ((0, "diverged"), (1, "finished"))
    ]
    trials += [
        trial("maskpro", seed, value + seed / 10, 90.0, {"alpha": alpha}, residual=[0.0])
        for alpha, value in (("0.5", 60.0), ("0.7", 70.0))
        for seed in (0, 1)
    ]
    writer.launch("lacking", trials, name="lacking-1")
    table = configurations_table(configurations_of(collect(store, study="lacking")))
    assert texts(table, "alpha") == ["0.5", "0.7", "0.9"]
    assert shown_marks(table, "eval/perplexity") == ["best", "second", ""]
    assert [row.is_flawed for row in table.rows] == [False, False, True]


def test_runs(configurations, runs):
    table = runs_table(runs, configurations=configurations)
    assert len(table.rows) == 18
    assert sorted(texts(table, "run")) == sorted(trial.run_id for trial in runs.trials)
    statuses = dict(zip(texts(table, "status"), texts(table, "reason"), strict=True))
    assert statuses["diverged"] == "loss became nan at step 3"
    assert statuses["failed"] == "killed by the system"
    assert texts(table, "eval/perplexity")[:3] == ["78.00", "80.00", "82.00"]
    assert texts(table, "initial/perplexity")[:3] == ["119.00", "120.00", "121.00"]
    assert not any(shown_marks(table, "eval/perplexity"))


def test_duplicates_are_listed_but_in_no_mean(writer, store, trial):
    twice = [trial("maskpro", 0, value, 80.0, residual=[0.0]) for value in (70.0, 71.0)]
    writer.launch("listed", twice, name="listed-1")
    found = collect(store, study="listed")
    items = configurations_of(found)
    assert texts(runs_table(found, configurations=items), "status") == ["finished", "duplicate"]
    assert texts(configurations_table(items), "eval/perplexity") == ["71.00 (n = 1)"]


def test_cost(configurations):
    table = cost_table(configurations)
    assert texts(table, "cost/seconds")[0] == "11.0"
    assert texts(table, "cost/forwards")[0] == "101"
    assert "memory/peak_bytes" not in [column.key for column in table.columns]
    assert texts(table, "time/step_s") == ["10.0"] * 5 + ["–"] * 3
    assert texts(table, "split") == ["10% · 80% · 10%"] * 5 + ["–"] * 3
    assert table.column("split")[0].value == "sample 10%, forward 80%, update 10%"
    assert table.notes == (
        "Together, finished or not: 168 s in 18 runs.",
        "Peak memory of the whole process is 128 MiB in every run.",
    )


def test_peaks_of_memory_have_a_column_where_they_differ(writer, store, trial):
    trials = [
        trial(
            "maskpro", 0, 50.0, 60.0, {"alpha": str(size)}, residual=[0.0], metrics={"memory/peak_bytes": size * 2**27}
        )
        for size in (1, 2)
    ]
    writer.launch("peaks", trials, name="peaks-1")
    table = cost_table(configurations_of(collect(store, study="peaks")))
    assert sorted(texts(table, "memory/peak_bytes")) == ["128", "256"]
    assert not any("Peak memory" in note for note in table.notes)


def test_costs_that_differ_have_an_interval(writer, store, trial):
    trials = [trial("wanda", s, 50.0, role="baseline", metrics={"cost/seconds": 1.0 + s}) for s in range(3)]
    writer.launch("costs", trials, name="costs-1")
    table = cost_table(configurations_of(collect(store, study="costs")))
    assert texts(table, "cost/seconds") == ["2.0 ± 2.5"]


def test_several_patterns_show_the_pattern_and_rank_apart(writer, store, trial):
    trials = [trial("dense", 0, 30.0, role="baseline")]
    for pattern, offset in (("2:4", 0.0), ("4:8", -20.0)):
        trials += [
            trial("maskpro", seed, value + offset + seed, 99.0, {"alpha": alpha}, residual=[0.0], pattern=pattern)
            for alpha, value in (("0.9", 80.0), ("0.99", 70.0))
            for seed in range(3)
        ]
    writer.launch("two-patterns", trials, name="two-patterns-1")
    table = configurations_table(configurations_of(collect(store, study="two-patterns")))
    assert texts(table, "pattern") == ["2:4", "2:4", "4:8", "4:8", ""]
    assert texts(table, "rank") == ["1", "2", "1", "2", ""]
    assert shown_marks(table, "eval/perplexity") == ["best", "second", "best", "second", ""]


def test_rows_of_different_models_name_them(writer, store, trial):
    trials = [
        trial("wanda", 0, value, role="baseline", params={"model.source": name, "alpha": "1"})
        for name, value in (("a", 50.0), ("b", 60.0))
    ]
    writer.launch("two-models", trials, name="two-models-1")
    table = summary_table(configurations_of(collect(store, study="two-models")))
    assert texts(table, "evaluated") == ["model.source=a", "model.source=b"]
    assert shown_marks(table, "eval/perplexity") == ["", ""]
    assert "2 groups of rows are not compared with each other." in table.notes


def test_the_searched_metric_is_shown_whatever_it_is(writer, store, trial):
    trials = [trial("wanda", s, 50.0, role="baseline", metrics={"memory/state_bytes": 5.0 + s}) for s in range(2)]
    writer.launch("memory", trials, name="memory-1", params={"search.metric": "memory/state_bytes"})
    table = summary_table(configurations_of(collect(store, study="memory")))
    assert [cell.value for cell in table.column("memory/state_bytes")] == [5.5]
    assert next(column.key for column in table.columns if "/" in column.key) == "memory/state_bytes"


def test_a_study_of_baselines_has_no_learned_table(writer, store, trial):
    trials = [trial("wanda", s, 50.0 + s, role="baseline") for s in range(2)]
    writer.launch("only-baselines", trials, name="only-baselines-1")
    found = collect(store, study="only-baselines")
    keys = [table.key for table in comparison_tables(analyse(store, runs=found))]
    assert keys == ["summary", "configurations", "cost", "runs"]


def test_a_row_that_does_not_fit_its_columns_is_refused(configurations):
    table = summary_table(configurations)
    with pytest.raises(AssertionError, match="does not fit"):
        type(table)("x", "x", "x", table.columns[:2], table.rows)
