"""The table of memory by kind and phase: one row for each method and pattern, the highest of its runs."""

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.read.collect import collect
from nmlab.reports.tables.comparison import comparison_tables, memory_table

MEGA = 2.0**20
KINDS = {"memory/weight_bytes": 8 * MEGA, "memory/masked_weight_bytes": 4 * MEGA, "memory/state_bytes": 6 * MEGA}


def _measured(seed, *, learned=True):
    phases = {"memory/start_peak_bytes": 300 * MEGA + seed, "memory/evaluation_peak_bytes": 320 * MEGA}
    own = {"memory/learning_activation_bytes": (2 + seed) * MEGA, "memory/learning_peak_bytes": 310 * MEGA}
    return {**KINDS, **phases, **(own if learned else {})}


def _table(writer, store, trials):
    writer.launch("footprints", trials, name="footprints-1")
    return memory_table(configurations_of(collect(store, study="footprints")))


def test_each_method_and_pattern_has_one_row_with_its_highest_numbers(writer, store, trial):
    trials = [
        trial("maskpro", seed, 50.0 + len(alpha), params={"alpha": alpha}, metrics=_measured(seed))
        for alpha in ("0.9", "0.99")
        for seed in range(3)
    ]
    trials.append(trial("wanda", 0, 60.0, role="baseline", metrics=_measured(0, learned=False)))
    table = _table(writer, store, trials)
    assert [cell.value for cell in table.column("method")] == ["maskpro", "wanda"]
    assert [cell.value for cell in table.column("memory/weight_bytes")] == [8 * MEGA] * 2
    assert [cell.value for cell in table.column("memory/learning_activation_bytes")] == [4 * MEGA, None]
    assert [cell.value for cell in table.column("memory/start_peak_bytes")] == [300 * MEGA + 2, 300 * MEGA]
    assert len(table.column("memory/state_bytes")[0].run_ids) == 3
    assert "memory/load_peak_bytes" not in [column.key for column in table.columns], "nothing recorded it"


def test_runs_without_recorded_memory_have_no_row(writer, store, trial):
    writer.launch("older", [trial("wanda", 0, 60.0, role="baseline")], name="older-1")
    found = collect(store, study="older")
    assert memory_table(configurations_of(found)).rows == ()
    assert "memory" not in [table.key for table in comparison_tables(analyse(store, runs=found))]
