"""The published numbers: complete, consistent with the totals that the papers print, contradictions named."""

import math
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd
import pytest

from nmlab.reports.analysis import published
from nmlab.reports.analysis.published import published_tables, remarks, settings_of
from nmlab.reports.read.errors import ReportError

PARTS = ("sample", "forward", "update")
ROUNDING = 0.0051  # two decimals are printed
AVERAGED = {"maskpro/table-5": 4, "maskpro/table-8": 14, "maskpro/table-9": 14, "susi/table-1": 27, "susi/table-10": 24}
CELL = ["table", "model", "pattern", "method", "setting", "metric"]


def table_of(numbers: Sequence[published.PrintedNumber]) -> pd.DataFrame:
    """Printed numbers as a table, flags as text."""
    return pd.DataFrame([{**asdict(number), "flags": " ".join(number.flags)} for number in numbers])


def numbers_of(table: str) -> pd.DataFrame:
    return table_of(published.numbers_of(table))


def published_numbers() -> pd.DataFrame:
    return table_of(published.published_numbers())


def value(table: str, **where: str) -> float:
    """The one number of a table that fits."""
    rows = numbers_of(table)
    for name, wanted in where.items():
        rows = rows[rows[name] == wanted]
    assert len(rows) == 1, (table, where, len(rows))
    return float(rows["value"].iloc[0])


@pytest.mark.parametrize("table", published_tables())
def test_every_table_is_complete(table: str) -> None:
    rows, stated = numbers_of(table), published_tables()[table]
    assert len(rows) == stated.cells
    assert int(rows["value"].notna().sum()) == stated.numbers


def test_no_cell_stands_twice_and_none_outside_the_listed_tables() -> None:
    rows = published_numbers()
    assert set(rows["table"]) == set(published_tables())
    assert not rows.duplicated(CELL).any()


@pytest.mark.parametrize("table", AVERAGED)
def test_printed_averages_follow_from_the_printed_tasks(table: str) -> None:
    rows = numbers_of(table)
    checked = 0
    for _, line in rows.groupby(["model", "method", "setting"]):
        average = line[line["metric"] == "average/acc"]["value"].iloc[0]
        tasks = line[line["metric"] != "average/acc"]["value"]
        if math.isnan(average):
            assert tasks.isna().all()
            continue
        assert average == pytest.approx(tasks.mean(), abs=ROUNDING)
        checked += 1
    assert checked == AVERAGED[table]


@pytest.mark.parametrize("method", ["magnitude", "wanda", "gblm", "sparsegpt_mask"])
def test_the_starts_of_table_12_are_the_averages_of_table_1(method: str) -> None:
    rows = numbers_of("maskpro/table-1")
    chosen = rows[(rows["model"] == "LLaMA-2-7B") & (rows["method"] == method) & rows["metric"].str.endswith("/acc")]
    assert value("maskpro/table-12", method=method) == pytest.approx(chosen["value"].mean(), abs=ROUNDING)


def test_improvements_of_table_12_follow_from_its_rows() -> None:
    for start in ("random", "magnitude", "wanda", "gblm", "sparsegpt_mask"):
        setting = f"initial_mask={start}"
        after = value("maskpro/table-12", setting=setting, metric="average/acc")
        gain = value("maskpro/table-12", setting=setting, metric="average/acc_gain")
        assert gain == pytest.approx(after - value("maskpro/table-12", method=start), abs=ROUNDING)


def test_a_cell_that_stands_in_two_tables_has_one_value_unless_it_is_flagged() -> None:
    rows = published_numbers()
    susi = rows[(rows["paper"] == "susi") & (rows["table"].isin(["susi/table-1", "susi/table-2", "susi/table-4"]))]
    assert (
        value("susi/table-7", model="Qwen2.5-3B", metric="average/acc", setting="straight_through=false")
        == (
            susi[(susi["model"] == "Qwen2.5-3B") & (susi["method"] == "susi") & (susi["metric"] == "average/acc")][
                "value"
            ].iloc[0]
        )
    )
    dense = rows[(rows["method"] == "dense") & ~rows["metric"].isin(["average/acc", "throughput", "throughput_ratio"])]
    assert (dense.groupby(["paper", "model", "metric"])["value"].nunique(dropna=True) <= 1).all()


def test_shares_of_a_step_and_speed_ups_follow_from_the_times() -> None:
    for model in ("LLaMA-2-7B", "LLaMA-13B"):
        parts = {name: value("maskpro/table-15", model=model, metric=f"time/{name}_s") for name in PARTS}
        for name, seconds in parts.items():
            share = value("maskpro/table-15", model=model, metric=f"time/{name}_share")
            assert share == pytest.approx(100 * seconds / sum(parts.values()), abs=0.013)
        assert parts["sample"] == value("maskpro/table-16", model=model, pattern="2:4")


@pytest.mark.parametrize("model", ["LLaMA-2-7B", "LLaMA-13B"])
@pytest.mark.parametrize("sampler", ["gumbel_topk", "gaussian_topk"])
def test_speed_ups_of_samplers_follow_from_the_times_except_the_flagged_one(model: str, sampler: str) -> None:
    chosen = {"model": model, "setting": f"sampler={sampler}"}
    printed = value("maskpro/table-17", metric="time/sample_speedup", **chosen)
    base = value("maskpro/table-17", model=model, setting="sampler=multinomial", metric="time/sample_s")
    exact = base / value("maskpro/table-17", metric="time/sample_s", **chosen)
    flagged = (model, sampler) == ("LLaMA-2-7B", "gaussian_topk")
    assert (abs(printed - exact) > 0.011) == flagged
    rows = numbers_of("maskpro/table-17")
    row = rows[(rows["model"] == model) & (rows["setting"] == chosen["setting"])]
    assert row["flags"].str.contains("gaussian-speed-up").any() == flagged


def test_ratios_of_trainable_parameters_follow_from_the_pattern() -> None:
    rows = numbers_of("susi/table-3")
    for _, row in rows[rows["metric"] == "cost/trainable_ratio"].iterrows():
        n, m = map(int, row["pattern"].split(":"))
        assert row["value"] == (math.comb(m, n) / m if row["method"] == "maskllm" else 1.0)


def test_every_flag_is_explained_and_every_remark_is_used() -> None:
    used = {flag for flags in published_numbers()["flags"] for flag in flags.split()}
    assert used == set(remarks())
    assert {remark.kind for remark in remarks().values()} == {"contradiction", "ambiguity", "caution"}


def test_the_contradictory_starts_are_both_kept_as_printed() -> None:
    first = value("maskpro/table-12", setting="initial_mask=magnitude", metric="average/acc")
    second = value("maskpro/table-14", setting="initial_mask=magnitude samples=128")
    assert (first, second) == (48.35, 49.35)
    rows = published_numbers()
    flagged = rows[rows["flags"].str.contains("top-n-start") & (rows["metric"] == "average/acc")]
    assert sorted(flagged["value"]) == [48.35, 49.35]


@pytest.mark.parametrize(
    ("table", "where", "expected"),
    [
        ("maskpro/table-1", {"model": "LLaMA-2-7B", "method": "maskpro", "metric": "wikitext/word_perplexity"}, 17.17),
        ("maskpro/table-6", {"model": "DeepSeek-7B", "method": "wanda", "metric": "openbookqa/acc"}, 27.20),
        ("maskpro/table-9", {"model": "LLaMA-30B", "method": "gblm", "metric": "race/acc"}, 37.35),
        ("susi/table-2", {"model": "Qwen2.5-3B", "method": "magnitude"}, 1.6e6),
        ("susi/table-4", {"model": "Qwen2.5-7B", "method": "sparsegpt"}, 158.70),
        ("susi/table-4", {"model": "Qwen2.5-7B", "method": "magnitude"}, math.inf),
        ("susi/table-10", {"model": "Qwen2.5-7B", "method": "susi", "metric": "sciq/acc"}, 83.40),
    ],
)
def test_single_numbers_are_those_of_the_papers(table: str, where: dict[str, str], expected: float) -> None:
    assert value(table, **where) == expected


def test_values_equal_what_is_printed() -> None:
    rows = published_numbers()
    plain = rows[rows["printed"].str.fullmatch(r"[+-]?[0-9.]+") & rows["value"].notna()]
    assert len(plain) > 1300
    assert (pd.to_numeric(plain["printed"]) == plain["value"]).all()
    assert set(rows[rows["value"].isna()]["printed"]) <= {"—", "-", "535.230.02", "2.5.1"}


def test_settings_are_read_and_unknown_tables_refused() -> None:
    assert settings_of("initial_mask=random steps=20000") == {"initial_mask": "random", "steps": "20000"}
    with pytest.raises(ReportError, match=r"unknown published table 'susi/table-11'.*susi/table-1"):
        numbers_of("susi/table-11")
