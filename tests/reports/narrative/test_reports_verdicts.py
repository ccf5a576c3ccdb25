"""What the page says of certainty, cost and the papers, in sentences."""

from dataclasses import replace

import pytest
from measured import with_metrics

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.published.versus_published import agreement, pairs_of
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import collect
from nmlab.reports.tables.comparison import comparison_tables


def test_the_small_study_is_sure_and_says_what_it_cost(analysis):
    sure, cost, claims = verdict_sentences(analysis)
    assert sure == (
        "Of the 4 masks in the summary, maskpro (best of 5) is best. Tests at 5%, corrected for their number, separate "
        "it from 3 of 3 others."
    )
    assert cost.startswith("One run of maskpro (")
    assert cost.endswith("cost 11.0 s; in total, 15 runs of maskpro cost 165 s.")
    assert claims.startswith("Of ")


def test_what_is_not_separable_says_what_could_have_been_seen(writer, store, trial):
    trials = [
        trial(method, seed, value, 99.0, residual=[0.0])
        for method, values in (("maskpro", (70.0, 80.0, 75.0)), ("susi", (78.0, 71.0, 79.0)))
        for seed, value in enumerate(values)
    ]
    writer.launch("close", trials, name="close-1")
    sure = verdict_sentences(analyse(store, runs=collect(store, study="close")))[0]
    assert "but not from susi (× 1.01" in sure
    assert "; smallest detectable × 1." in sure


def test_one_seed_says_that_nothing_is_sure(writer, store, trial):
    trials = [trial(method, 0, value, 99.0, residual=[0.0], keeps_losses=False)
              for method, value in (("maskpro", 70.0), ("susi", 78.0))]  # fmt: skip
    writer.launch("single", trials, name="single-1")
    sure = verdict_sentences(analyse(store, runs=collect(store, study="single")))[0]
    assert sure.startswith(
        "Of the 4 masks in the summary, maskpro has the best mean, but no test was possible: one seed "
    )


# --- published versus ours ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alphas(writer, store, trial):
    """A study that reproduces the published table of alphas, at three of its five values."""
    trials = [
        trial("maskpro", seed, value + seed, 99.0, {"alpha": alpha}, residual=[0.0])
        for alpha, value in (("0.7", 90.0), ("0.9", 70.0), ("0.99", 60.0))
        for seed in range(2)
    ]
    writer.launch("alphas", trials, name="alphas-1", tags={"nmlab.reproduces": "maskpro/table-10"})
    return analyse(store, runs=collect(store, study="alphas"))


def test_printed_rows_find_ours_by_their_setting(alphas):
    found = {(pair.number.model, pair.number.setting): pair for pair in alphas.pairs["maskpro/table-10"]}
    assert len(found) == 10
    pair = found["LLaMA-2-7B", "alpha=0.99"]
    assert (pair.number.value, pair.searched.mean, pair.rank, pair.our_rank) == (49.62, 60.5, 1, 1)
    assert (pair.measured, pair.difference) == (None, None)  # accuracy there, perplexity here
    assert not found["LLaMA-2-7B", "alpha=0.95"].has_counterpart
    assert found["LLaMA-13B", "alpha=0.7"].rank == 3
    assert agreement(alphas.pairs["maskpro/table-10"])["LLaMA-2-7B", "average/acc"] == (pytest.approx(1.0), 3)


def test_a_study_may_reproduce_several_items(writer, store, trial):
    trials = [
        trial(method, seed, value + seed, 99.0, {}, residual=[0.0])
        for method, value in (("susi", 30.0), ("maskllm", 31.0))
        for seed in range(2)
    ]
    tags = {"nmlab.reproduces": "susi/table-1,susi/table-2,susi/figure-3"}
    writer.launch("several", trials, name="several-1", tags=tags)
    found = analyse(store, runs=collect(store, study="several"))
    assert list(found.pairs) == ["susi/table-1", "susi/table-2"]  # a figure has no numbers in print
    tables = {table.key: table for table in comparison_tables(found)}
    assert {"published-susi-table-1", "published-susi-table-2"} <= set(tables)
    claims = {judgement.claim.id for judgement in found.judgements}
    assert {"susi-method-order", "susi-beats-maskllm", "susi-beats-proxsparse"} <= claims


def test_a_difference_is_only_of_the_same_quantity(configuration):
    item = configuration([20.0], method="wanda", role="baseline")
    with_metrics(item, {"eval/word_perplexity": 500.0, "memory/peak_bytes": 2e9})
    pairs = pairs_of("maskpro/table-1", configurations=[item])
    own = next(pair for pair in pairs if pair.number.model == "LLaMA-2-7B" and pair.number.method == "wanda")
    assert (own.number.metric, own.number.value, own.measured.mean) == ("wikitext/word_perplexity", 23.44, 500.0)
    assert own.difference == pytest.approx(476.56)
    memory = next(iter(pairs_of("maskpro/table-7", configurations=[replace(item, method="maskpro")])))
    assert memory.measured is None  # at 1:4, which was not run


def test_the_searched_metric_orders_only_what_is_printed_of_quality(configuration):
    """A perplexity says which of two accuracies should be higher, and nothing of times or parameters."""
    items = [configuration([20.0 + place], method=method) for place, method in enumerate(("susi", "maskllm"))]
    accuracies = pairs_of("susi/table-1", configurations=items)
    assert {pair.our_rank for pair in accuracies if pair.has_counterpart} == {1, 2}
    assert not any(pair.has_counterpart for pair in pairs_of("susi/table-3", configurations=items))


def measured(item, **values):
    with_metrics(item, {name.replace("__", "/"): value for name, value in values.items()})
    return item


def test_multiples_and_shares_in_print_are_worked_out_from_what_they_follow_from(configuration):
    items = [
        measured(configuration([20.0], method=method), cost__trainable_params=params)
        for method, params in (("susi", 200.0), ("maskllm", 300.0), ("proxsparse", 448.0))
    ]
    table_3 = {(pair.number.method, pair.number.metric): pair for pair in pairs_of("susi/table-3", configurations=items)
               if (pair.number.model, pair.number.pattern) == ("Qwen2.5-7B", "2:4")}  # fmt: skip
    ratios = {method: pair.measured.mean for (method, metric), pair in table_3.items() if metric.endswith("ratio")}
    assert ratios == {"susi": 1.0, "maskllm": 1.5, "proxsparse": 2.24}
    assert table_3["maskllm", "cost/trainable_ratio"].difference == 0.0
    without_susi = pairs_of("susi/table-3", configurations=items[1:])
    assert all(pair.measured is None for pair in without_susi if pair.number.metric.endswith("ratio"))

    step = measured(configuration([20.0]), time__sample_s=0.2, time__forward_s=0.7, time__update_s=0.1)
    shares = {pair.number.metric: pair.measured.mean for pair in pairs_of("maskpro/table-15", configurations=[step])}
    assert [shares[f"time/{part}_share"] for part in ("sample", "forward", "update")] == pytest.approx([20, 70, 10])
    assert pairs_of("maskpro/table-15", configurations=[configuration([20.0])])[0].measured is None

    samplers = [
        measured(configuration([20.0], sampler=name), time__sample_s=seconds)
        for name, seconds in (("multinomial", 6.0), ("gumbel_topk", 2.0), ("gaussian_topk", 1.5))
    ]
    faster = {pair.number.setting: pair for pair in pairs_of("maskpro/table-17", configurations=samplers)
              if pair.number.metric == "time/sample_speedup" and pair.number.model == "LLaMA-13B"}  # fmt: skip
    assert {setting: (pair.measured.mean, pair.our_rank) for setting, pair in faster.items()} == {
        "sampler=gumbel_topk": (3.0, 2),
        "sampler=gaussian_topk": (4.0, 1),
    }


def test_only_what_was_measured_stands_in_the_column_of_ours(alphas):
    tables = {table.key: table for table in comparison_tables(alphas)}
    table = tables["published-maskpro-table-10"]
    titles = [column.title for column in table.columns]
    assert "ours" not in titles
    assert [cell.value for cell in table.column("searched") if cell.value is not None] == [90.5, 70.5, 60.5] * 2
    assert "our perplexity" in titles


def test_an_order_of_few_rows_is_no_agreement_without_its_p_value(alphas):
    tables = {table.key: table for table in comparison_tables(alphas)}
    notes = [note for note in tables["published-maskpro-table-10"].notes if "Kendall's tau" in note]
    assert len(notes) == 2
    assert all(
        note.endswith("+1.00 (p = 0.333: with so few rows, chance explains such an agreement).") for note in notes
    )


def test_a_published_table_of_which_no_row_was_run_is_named(writer, store, trial):
    trials = [trial("maskpro", seed, 50.0 + seed, 99.0, {"alpha": "0.123"}, residual=[0.0]) for seed in range(2)]
    writer.launch("apart", trials, name="apart-1", tags={"nmlab.reproduces": "maskpro/table-10"})
    tables = {table.key: table for table in comparison_tables(analyse(store, runs=collect(store, study="apart")))}
    assert "published-maskpro-table-10" not in tables
    assert tables["claims"].notes[0].startswith("Of 2 claims")  # which the index page shows
    assert "maskpro/table-10" in tables["claims"].notes[1]


def test_what_is_counted_needs_no_test_and_no_caution(writer, store, trial):
    """Bytes of state are the same in every run: choosing by them is not optimistic, and nothing is left to test."""
    trials = [
        trial(method, 0, 50.0, 99.0, {"logits": kind}, residual=[0.0], metrics={"memory/state_bytes": size})
        for method, kind, size in (("maskpro", "bfloat16", 1e5), ("maskpro", "float32", 2e5), ("maskllm", "x", 3e5))
    ]
    aim = {"search.metric": "memory/state_bytes", "search.mode": "min"}
    writer.launch("counted", trials, name="counted-1", params=aim)
    found = analyse(store, runs=collect(store, study="counted"))
    assert verdict_sentences(found)[0].endswith("is best; the metric is counted and the same in every run.")
    tables = {table.key: table for table in comparison_tables(found)}
    sentences = headline_of(found.runs, configurations=found.configurations, verdicts=())
    assert not any("optimistic" in text for text in (*sentences, *tables["summary"].notes))
    assert tables["rivals"].notes[-1] == "Counted, and the same in every run: there is nothing to test."


def test_the_page_shows_the_table_and_the_claims(alphas):
    sentences = verdict_sentences(alphas)
    assert sentences[-1] == "Of 2 claims of the papers: 1 reproduced, 1 not tested at this scale."
