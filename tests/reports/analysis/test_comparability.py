"""Runs that were not evaluated alike are refused in one table; with --mixed every table is marked."""

import json

import pytest

from nmlab.reports.compare import compare
from nmlab.reports.index import write_index
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import open_store
from nmlab.reports.report import write_report

pytestmark = pytest.mark.usefixtures("undrawn")

FACTS = {"harness": "lm_eval 0.4.13", "dtype": "float32", "device": "cpu", "batch_size": 16}
QUIZ = {"version": "cloze-1", "few_shot": 0, "questions": 40, "questions_digest": "aa"}
ACCURACY = {"eval/quiz/acc": 0.5}


def asked(facts=None, quiz=None):
    return {"nmlab.tasks": json.dumps({**FACTS, **(facts or {}), "tasks": {"quiz": {**QUIZ, **(quiz or {})}}})}


def launched(writer, trial, name, *tags, metrics=None, **options):
    """Write a study with one run for each of these tags."""
    rows = [
        trial("wanda" if place == 0 else "magnitude", 0, 60.0 + place, tags=own, metrics=metrics or {}, **options)
        for place, own in enumerate(tags)
    ]
    writer.launch(name, rows, name=f"{name}-1")
    return [run.info.run_id for run in reversed(_children(writer, name))]


def _children(writer, name):
    store = open_store(writer.uri)
    experiment = store.experiment_id(name)
    (parent,) = store.launches(experiment)
    return store.children(experiment, parent=parent.info.run_id)[::-1]


@pytest.mark.parametrize(
    ("name", "tags", "message"),
    [
        ("harness", asked({"harness": "lm_eval 0.5"}), "the harness of the tasks differs: lm_eval 0.4.13"),
        ("dtype", asked({"dtype": "bfloat16"}), "the dtype of the tasks differs: bfloat16"),
        ("batch", asked({"batch_size": 4}), "the batch_size of the tasks differs: 16"),
        ("version", asked(quiz={"version": "qa-1"}), "version of task quiz differs: cloze-1"),
        ("few-shot", asked(quiz={"few_shot": 5}), "few_shot of task quiz differs: 0"),
        ("questions", asked(quiz={"questions_digest": "bb"}), "questions_digest of task quiz differs: aa"),
        ("torch", {"nmlab.versions": '{"torch": "2.9.0"}'}, "the version of torch differs: 2.13.0"),
        ("model", {"nmlab.model_digest": "sha256:zz"}, "the digest of the model differs: sha256:aa11"),
        ("data", {"nmlab.data_digest": "sha256:zz"}, "the digest of the data differs: sha256:bb22"),
    ],
)
def test_a_report_refuses_runs_not_evaluated_alike_and_marks_them_when_mixed(
    writer, trial, tmp_path, name, tags, message
):
    name = f"alike-{name}"
    runs = launched(writer, trial, name, asked(), {**asked(), **tags}, metrics=ACCURACY)
    output = tmp_path / "report"
    with pytest.raises(ReportError) as refusal:
        write_report(name, tracking_uri=writer.uri, output=output)
    text = str(refusal.value)
    assert text.startswith(f"these runs do not belong in one table: {message}")
    assert all(f"(run {run_id})" in text for run_id in runs)
    assert text.endswith("--mixed shows them anyway, marked")
    assert "\n" not in text
    assert not output.exists()
    write_report(name, tracking_uri=writer.uri, output=output, mixed=True)
    content = json.loads((output / "report.json").read_text())
    assert any(f"Not evaluated alike: {message}" in warning for warning in content["warnings"])
    for table in content["tables"]:
        assert table["notes"][0].startswith(f"Not evaluated alike: {message}"), table["key"]


def test_a_fact_that_a_run_did_not_record_is_no_difference(writer, trial, tmp_path):
    launched(writer, trial, "alike-unknown", asked(), {"nmlab.versions": "{}", "nmlab.data_digest": ""})
    write_report("alike-unknown", tracking_uri=writer.uri, output=tmp_path / "report")


def test_an_external_model_may_have_another_model_digest(writer, trial, tmp_path):
    """It has its own weights, pruned in another way, and is evaluated like the study's model."""
    external = {"nmlab.model_digest": "sha256:zz", "nmlab.judged": "true"}
    launched(writer, trial, "alike-judged", {}, external)
    write_report("alike-judged", tracking_uri=writer.uri, output=tmp_path / "report")


def test_an_unfinished_run_makes_no_difference(writer, trial, tmp_path):
    other = {"nmlab.versions": '{"torch": "2.9.0"}'}
    rows = [trial("wanda", 0, 60.0), trial("magnitude", 0, None, status="failed", tags=other)]
    writer.launch("alike-failed", rows, name="alike-failed-1")
    write_report("alike-failed", tracking_uri=writer.uri, output=tmp_path / "report")


def test_models_shown_by_rows_or_columns_are_not_mixed(writer, trial, tmp_path):
    rows = [
        trial("wanda", 0, 60.0, params={"model.source": name}, tags={"nmlab.model_digest": f"sha256:{name}"})
        for name in ("a", "b")
    ]
    writer.launch("alike-models", rows, name="alike-models-1")
    write_report("alike-models", tracking_uri=writer.uri, output=tmp_path / "report")


def test_tasks_matter_to_tables_that_show_them(writer, trial):
    """Few-shot settings do not affect perplexity."""
    launched(writer, trial, "alike-zero", asked(), metrics=ACCURACY)
    launched(writer, trial, "alike-five", asked(quiz={"few_shot": 5}), metrics=ACCURACY)
    names = ["alike-zero", "alike-five"]
    assert compare(names, tracking_uri=writer.uri).document.warnings == ()
    message = r"few_shot of task quiz differs: 0 \(run .* of {}\), 5 \(run .* of {}\)"
    with pytest.raises(ReportError, match=message.format("A", "B")):
        compare(names, tracking_uri=writer.uri, metrics=["eval/quiz/acc"])
    with pytest.raises(ReportError, match=message.format(*names)):
        compare(names, tracking_uri=writer.uri, metrics=["eval/quiz/acc"], columns=["study"])


def test_a_tag_that_is_no_json_names_its_run(writer, trial, tmp_path):
    (run_id,) = launched(writer, trial, "alike-broken", {"nmlab.tasks": "{"})
    with pytest.raises(ReportError, match=f"tag 'nmlab.tasks' of run {run_id} is not JSON"):
        write_report("alike-broken", tracking_uri=writer.uri, output=tmp_path / "report")


def test_the_index_says_why_a_study_has_no_report(tmp_path, store_writer, trial):
    own = store_writer(tmp_path)
    launched(own, trial, "alike-index", {}, {"nmlab.data_digest": "sha256:zz"})
    _, (refused,) = write_index(tracking_uri=own.uri, output=tmp_path / "reports")
    assert "do not belong in one table" in refused.problem
    _, (shown,) = write_index(tracking_uri=own.uri, output=tmp_path / "reports", mixed=True)
    assert shown.problem == ""
