"""The verbs of the command line that need no cluster, called in this process on a real model and a real store."""

import json
from importlib import metadata

import jsonschema
import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient

from nmlab.platform import cli
from nmlab.platform.cli.app import app
from nmlab.search_spaces import loader

VERBS = [command.name for command in app.registered_commands]
SHORT = ("--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")


@pytest.fixture
def nmlab(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command line in an empty folder and returns exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("NMLAB_RESULTS", raising=False)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, capsys.readouterr()

    return call


@pytest.fixture
def asked(nmlab):
    """Return a function that runs the command line with ``--json`` and returns what a program would read."""

    def call(*arguments):
        code, printed = nmlab(*arguments, "--json")
        assert code == 0, printed.err
        return json.loads(printed.out)

    return call


def runs(uri, *, kind="trial"):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("runs").experiment_id
    return client.search_runs([experiment], f"tags.`nmlab.kind` = '{kind}'")


def test_every_promised_verb_is_there():
    promised = {"doctor", "methods", "studies", "plan", "run", "sweep", "resume", "status", "report", "compare", "ui"}
    promised |= {"evaluate", "export", "diff", "submit"}
    assert promised <= set(VERBS)


def test_the_version_is_printed(nmlab):
    code, printed = nmlab("--version")
    assert (code, printed.out.strip()) == (0, metadata.version("nmlab"))


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(nmlab, verb):
    code, printed = nmlab(verb, "--help")
    assert code == 0
    assert f"Example: nmlab {verb}" in printed.out


def test_without_a_verb_the_help_is_shown(nmlab):
    _, printed = nmlab()
    assert all(verb in printed.out + printed.err for verb in VERBS)


def test_one_shot_run(asked, tracking_uri, tmp_path):
    record = asked("run", "magnitude", *SHORT, "--tracking-uri", tracking_uri)
    assert record["status"] == "finished"
    perplexity = record["metrics"]["eval/perplexity"]
    assert 1.0 < perplexity < 512.0
    (run,) = runs(tracking_uri)
    assert run.data.metrics["eval/perplexity"] == perplexity
    assert run.data.tags["nmlab.trial_key"] == record["key"]
    assert run.info.status == "FINISHED"
    folder = tmp_path / "results" / "runs" / record["key"]
    losses = np.load(folder / "evaluation.npz")
    assert np.exp(losses["window_loss_sum"].sum() / losses["window_tokens"].sum()) == pytest.approx(perplexity)
    assert len(losses["window_tokens"]) == 4


def test_learned_run_continues_where_it_was_and_is_recorded_once(asked, tracking_uri):
    command = ("run", "maskpro", "--set", "steps=6", "--set", "learning_rate=2.0", *SHORT, "--seed", "3")
    first, second = (asked(*command, "--tracking-uri", tracking_uri) for _ in range(2))
    assert first["status"] == second["status"] == "finished"
    assert first["key"] == second["key"]
    assert first["metrics"]["eval/perplexity"] == second["metrics"]["eval/perplexity"]
    assert first["spec"]["hyperparameters"]["steps"] == 6
    (run,) = runs(tracking_uri)
    assert run.data.params["learning_rate"] == "2.0"
    client = MlflowClient(tracking_uri=tracking_uri)
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
    assert steps == [1, 2, 3, 4, 5, 6]
    for name, step in (("initial/perplexity", 0), ("eval/perplexity", 6)):
        assert [p.step for p in client.get_metric_history(run.info.run_id, name)] == [step]
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"evaluation.npz", "mask.safetensors", "trial.json"} <= artifacts


def test_single_runs_share_the_masks_they_start_from(asked, tracking_uri):
    """Two runs from one mask: it is computed by the first, kept once, and both are charged for it."""
    command = ("run", "maskllm", "--set", "steps=2", "--set", "initial_mask=wanda", *SHORT)
    first, second = (asked(*command, "--seed", seed, "--tracking-uri", tracking_uri) for seed in ("0", "1"))
    (mask,) = runs(tracking_uri, kind="initial_mask")
    assert mask.data.params["method"] == "wanda"
    digest = mask.data.tags["nmlab.initial_mask_digest"]
    assert [run.data.tags["nmlab.initial_mask_digest"] for run in runs(tracking_uri)] == [digest] * 2
    start = mask.data.metrics["cost/forwards"]
    assert start > 0
    assert [record["metrics"]["cost/initial_forwards"] for record in (first, second)] == [start, start]
    assert [record["metrics"]["cost/spent_forwards"] for record in (first, second)] == [start + 2, 2]


def test_a_run_prints_the_same_as_text(nmlab, tracking_uri):
    code, printed = nmlab("run", "dense", *SHORT, "--tracking-uri", tracking_uri)
    assert code == 0
    assert printed.out.startswith("dense 2:4 seed 0: finished\n")
    assert "eval/token_perplexity" in printed.out
    assert printed.err.strip() == ""


def test_a_text_given_alone_is_cut_into_learning_and_evaluation(asked, tracking_uri, tmp_path):
    (tmp_path / "text.txt").write_text("".join(f"Sentence {number} is like no other. " for number in range(800)))
    record = asked("run", "magnitude", *SHORT, "--data", "text.txt", "--tracking-uri", tracking_uri)
    sources = [record["spec"][part]["source"] for part in ("calibration", "evaluation")]
    assert sources == ["text.txt[:80%]", "text.txt[80%:]"]


def test_plan(asked):
    overrides = ("search.samples=5", "seeds=[0, 1]", "baselines=[dense, magnitude, random]")
    record = asked("plan", "quickstart", *(part for override in overrides for part in ("--set", override)))
    assert (record["configurations"], record["baseline trials"], record["trials"]) == (5, 4, 14 + (3 + 1) * 5)
    assert record["prunable"] == "26,624 weights in 14 layers"
    assert len(record["trial list"]) == record["settled trials"] == 4 + 2 * (5 - record["open configurations"])
    assert record["seconds"] > 0
    assert record["seconds are"] == "estimated"
    (maskpro,) = {row["state_bytes"] for row in record["memory"]["methods"] if row["method"] == "maskpro"}
    assert 4 * 26_624 < maskpro < 6.5 * 26_624
    assert record["memory"]["slot"] == max(row["slot"] for row in record["memory"]["methods"])
    assert set(record["disk"]) == {"artifacts", "tracking store", "checkpoints"}


def test_plan_as_text(nmlab):
    code, printed = nmlab("plan", "quickstart", "--set", "baselines=[dense]")
    assert code == 0
    lines = printed.out.splitlines()
    assert "40" in next(line for line in lines if line.startswith("trials"))
    assert any(line.startswith("confirmation") and "seeds 3, 4, 5, 6, 7" in line for line in lines)
    assert "and 3 more; --all lists them" in lines
    assert any(line.startswith("memory") and "free on this machine" in line for line in lines)
    assert any(line.startswith("time") and "estimated" in line for line in lines)
    code, printed = nmlab("plan", "quickstart", "--set", "baselines=[dense]", "--all")
    assert sum(" maskpro " in line for line in printed.out.splitlines()) > 9


def test_methods(asked, nmlab):
    records = asked("methods")
    assert {"dense", "random", "magnitude", "wanda", "maskpro"} <= {record["name"] for record in records}
    (maskpro,) = asked("methods", "maskpro")
    assert maskpro["learned"] is True
    assert {"alpha", "logit_magnitude", "learning_rate", "steps"} <= set(maskpro["hyperparameters"])
    _, printed = nmlab("methods", "maskpro")
    assert "learning_rate" in printed.out


def test_every_method_says_what_it_is_and_what_it_costs(asked):
    for record in asked("methods"):
        assert all(record[name] for name in ("summary", "paper", "cost", "patterns")), record["name"]
        assert all(field.get("description") for field in record["hyperparameters"].values()), record["name"]


def test_studies(asked, nmlab):
    records = {record["name"]: record for record in asked("studies")}
    assert records["quickstart"]["trials"] == asked("plan", "quickstart")["trials"]
    assert records["maskpro-alpha"]["reproduces"] == ["maskpro/table-10"]
    assert records["maskpro-alpha"]["presets"] == ["small", "full", "full-llama-2-13b"]
    _, printed = nmlab("studies")
    assert all(name in printed.out for name in records)


def test_one_study_in_full(asked, nmlab):
    (small, full, larger) = asked("studies", "maskpro-alpha")["sizes"]
    assert [size["name"] for size in (small, full, larger)] == [
        "maskpro-alpha",
        "maskpro-alpha-full",
        "maskpro-alpha-full-llama-2-13b",
    ]
    assert full["model"] == "meta-llama/Llama-2-7b-hf"
    assert full["steps"] == 5 * 3 * 10_000
    assert full["tokens"] == full["steps"] * 32 * 128
    _, printed = nmlab("studies", "maskpro-alpha")
    assert "Tracker coefficient alpha" in printed.out  # the caption of the published table
    assert "nmlab sweep maskpro-alpha [--preset PRESET]" in printed.out


def test_a_preset_that_is_not_there(nmlab):
    for verb in (("plan",), ("sweep",), ("submit", "--address", "http://localhost:1", "--results", "/tmp")):
        code, printed = nmlab(verb[0], "maskpro-alpha", *verb[1:], "--preset", "ful")
        assert (code, printed.err) == (
            2,
            "nmlab: maskpro-alpha.yaml: preset 'ful': unknown preset; did you mean 'full'?\n",
        )
    code, printed = nmlab("studies", "maskpro-alfa")
    assert (code, printed.err) == (2, "nmlab: unknown study 'maskpro-alfa'; did you mean 'maskpro-alpha'?\n")


def test_a_plan_of_a_users_own_preset(asked, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\npattern: '2:4'\nmethod: wanda\nseeds: [0]\n"
        "presets: {short: {scale: tiny}, rules: {scale: tiny, baselines: [magnitude]}}\n"
    )
    assert asked("plan", str(path))["study"] == "mine"
    assert asked("plan", str(path), "--preset", "rules")["study"] == "mine-rules"


def test_the_schema_accepts_packaged_studies_and_refuses_a_wrong_one(nmlab):
    code, printed = nmlab("studies", "--schema")
    assert code == 0
    validator = jsonschema.Draft202012Validator(json.loads(printed.out))
    for study in loader.studies():
        assert validator.is_valid(yaml.safe_load(loader.dump(study))), study.name
    assert not validator.is_valid({"name": "x", "modell": {}})


def test_doctor(asked, nmlab, tmp_path):
    found = {entry["check"]: entry["verdict"] for entry in asked("doctor")}
    assert {"python", "packages", "device", "results folder", "tracking store", "shipped model"} <= set(found)
    assert "failed" not in found.values()
    assert list(tmp_path.iterdir()) == []


def test_doctor_reports_a_problem_and_continues(nmlab, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, printed = nmlab("doctor", "--json", "--tracking-uri", "sqlite:///file/nmlab.db")
    assert code == 1
    found = {entry["check"]: entry for entry in json.loads(printed.out)}
    assert found["tracking store"]["verdict"] == "failed"
    assert "cannot be written" in found["tracking store"]["detail"]
    assert found["shipped model"]["verdict"] == "ok"
