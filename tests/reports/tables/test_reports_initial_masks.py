"""Initial masks have their own table and are in no other; notes of runs are reported."""

import pytest
from mlflow.entities import Metric, Param

from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.narrative.provenance import warnings_of
from nmlab.reports.read.collect import collect
from nmlab.reports.report import write_report
from nmlab.reports.tables.cost import cost_table
from nmlab.reports.tables.runs import initial_masks_table

DIGEST, OTHER = "529bc297d235868d", "00000000000000aa"


def _cost(seconds, spent):
    return {"cost/seconds": seconds, "cost/spent_seconds": spent, "cost/initial_seconds": 0.5}


@pytest.fixture(scope="module")
def study(writer, trial):
    """Two runs that started from one mask, of which one paid, one from another, and a baseline."""
    from_here = {"nmlab.initial_mask_digest": DIGEST}
    trials = [
        trial("wanda", 0, 100.0, role="baseline", metrics=_cost(0.5, 0.5)),
        trial("maskpro", 0, 80.0, 100.0, residual=[0.0], tags=from_here, metrics=_cost(3.0, 3.0)),
        trial("maskpro", 1, 82.0, 100.0, residual=[0.0], tags=from_here, metrics=_cost(3.0, 2.5)),
        trial("maskllm", 0, 70.0, 90.0, residual=[0.0], tags={"nmlab.initial_mask_digest": OTHER}, metrics=_cost(2, 2)),
    ]
    parent = writer.launch("starts", trials, name="starts-1")
    experiment = writer.client.get_experiment_by_name("starts").experiment_id
    tags = {"mlflow.parentRunId": parent, "nmlab.kind": "initial_mask", "nmlab.initial_mask_digest": DIGEST}
    run = writer.client.create_run(experiment, tags={**tags, "nmlab.status": "finished"}).info.run_id
    params = [Param("method", "wanda"), Param("pattern", "2:4"), Param("seed", "0")]
    costs = {"cost/seconds": 0.5, "cost/forwards": 12.0, "cost/tokens": 1536.0, "cost/backwards": 0.0}
    writer.client.log_batch(run, params=params, metrics=[Metric(name, v, 0, 0) for name, v in costs.items()])
    writer.client.set_terminated(run)
    return run


@pytest.fixture
def started(store, study):
    return collect(store, study="starts")


def test_an_initial_mask_is_not_a_trial(started, study):
    assert len(started.trials) == 4
    assert study not in {run.run_id for run in started.trials}
    (mask,) = started.initial_masks
    assert (mask.run_id, mask.digest, mask.method, mask.pattern) == (study, DIGEST, "wanda", "2:4")


def test_the_table_counts_the_runs_that_started_from_a_mask(started, study):
    table = initial_masks_table(started)
    (row,) = table.rows
    cells = dict(zip([column.key for column in table.columns], row.cells, strict=True))
    assert cells["run"].value == study
    assert cells["started"].value == 2
    mine = {run.run_id for run in started.trials if run.initial_mask_digest == DIGEST}
    assert set(cells["started"].run_ids) == mine
    assert (cells["cost/forwards"].value, cells["cost/tokens"].value, cells["cost/seconds"].value) == (12, 1536, 0.5)
    assert cells["digest"].value == DIGEST


def test_a_study_without_such_masks_has_no_such_table(runs):
    assert initial_masks_table(runs).rows == ()


def test_the_cost_table_has_both_the_charged_and_the_spent_cost(started):
    notes = cost_table(configurations_of(started)).notes
    assert notes[0].startswith("Together, finished or not: 8.5")
    assert "8.0" in notes[1]
    assert "were spent" in notes[1]


def test_without_sharing_there_is_no_note_on_it(configurations):
    assert not any("shared" in note for note in cost_table(configurations).notes)


@pytest.mark.usefixtures("undrawn")
def test_the_report_shows_the_mask_once(writer, study, tmp_path):
    report = write_report("starts", tracking_uri=writer.uri, output=tmp_path / "report")
    tables = {path.stem: path.read_text() for path in report.tables if path.suffix == ".csv"}
    assert study in tables["initial_masks"]
    assert not any(study in text for name, text in tables.items() if name != "initial_masks")
    assert "Initial masks" in report.markdown.read_text()
    assert study in report.html.read_text()


def test_a_note_is_reported_once_for_all_runs_that_made_it(writer, store, trial):
    damped = {"nmlab.notes": "the Hessian of q_proj needed damping 0.1, not 0.01"}
    both = {"nmlab.notes": f"{damped['nmlab.notes']}\nover the budget of 5 forwards: its start alone took 12"}
    trials = [
        trial("sparsegpt", 0, 50.0, role="baseline", tags=damped),
        trial("maskpro", 0, 45.0, 50.0, residual=[0.0], tags=both),
    ]
    writer.launch("noted", trials, name="noted-1")
    runs = collect(store, study="noted")
    notes = [line for line in warnings_of(runs, check=None) if "noted by" in line]
    assert len(notes) == 2
    assert "needed damping 0.1, not 0.01 (noted by 2 runs, first " in notes[0] + notes[1]
    (learned,) = [trial.run_id for trial in runs.trials if trial.method == "maskpro"]
    assert any(f"took 12 (noted by run {learned})." in line for line in notes)


def test_notes_beyond_a_dozen_are_counted(writer, store, trial):
    many = {"nmlab.notes": "\n".join(f"note {number}" for number in range(20))}
    writer.launch("many-notes", [trial("sparsegpt", 0, 50.0, role="baseline", tags=many)], name="many-1")
    notes = [line for line in warnings_of(collect(store, study="many-notes"), check=None) if "note" in line]
    assert sum("noted by run" in line for line in notes) == 12
    assert any("8 further notes; see nmlab.notes" in line for line in notes)
