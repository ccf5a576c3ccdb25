"""Models that a mask covers in part, or not at all, at the command line: what is said, and what is refused."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from nmlab.platform import cli
from nmlab.trials.models.sources import BUILTIN

SHORT = ("--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")
TINY = BUILTIN["builtin:tiny"]
SIZES = {
    "vocab_size": 512,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
STUDY = """
name: covered
model: {{source: {model}{more}}}
data:
  calibration: {{source: "builtin:python-docs", samples: 4, sequence_length: 32, batch_size: 2}}
  evaluation: {{source: "builtin:python-docs", sequence_length: 32, windows: 4}}
pattern: "2:4"
method: maskpro
fixed: {{steps: 4}}
space: {{alpha: {{grid: [0.9, 0.99]}}}}
baselines: [dense, magnitude]
"""


@pytest.fixture
def nmlab(monkeypatch, capsys, tracking_uri):
    """Run the command line in a folder with a store of its own; returns exit code, output and errors."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.delenv("NMLAB_RESULTS", raising=False)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        return exit_.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def refused(nmlab):
    def call(*arguments):
        code, out, err = nmlab(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), (code, out, err)
        assert err.startswith("nmlab: ")
        return err

    return call


@pytest.fixture
def saved(tmp_path):
    """Write a small random model with a tokenizer: saved("mixtral", num_local_experts=4)."""

    def make(architecture, **changes):
        folder = tmp_path / architecture
        disable_progress_bar()
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **SIZES, **changes)).save_pretrained(folder)
        for path in TINY.glob("tokenizer*"):
            shutil.copy(path, folder / path.name)
        return folder

    return make


@pytest.fixture
def mixture(saved):
    return saved("mixtral", num_local_experts=4, num_experts_per_tok=2)


def _study(folder, model, more=""):
    path = folder / "study.yaml"
    path.write_text(STUDY.format(model=model, more=more))
    return path


@pytest.mark.slow
def test_experts_are_refused_by_every_verb_in_one_line(refused, mixture, tmp_path):
    message = (
        "MixtralForCausalLM: 85.8% of the decoder blocks' matrix weights would stay dense: mlp.experts.gate_up_proj"
    )
    for arguments in (
        ("run", "magnitude", "--model", mixture, *SHORT),
        ("evaluate", mixture),
        ("plan", _study(tmp_path, mixture)),
        ("sweep", _study(tmp_path, mixture)),
    ):
        assert message in refused(*arguments)
    near = refused("plan", _study(tmp_path, mixture, ", leave_dense: [expert]"))
    assert "model.leave_dense: unknown weight 'expert'; did you mean 'experts'?" in near


def test_a_plan_says_the_coverage_and_stands_where_the_dry_run_cannot(nmlab, mixture, tmp_path):
    code, out, err = nmlab("plan", _study(tmp_path, mixture, ", leave_dense: experts"))
    assert (code, err) == (0, "")
    assert "coverage         prunes 14.2% of the decoder blocks' matrix weights; left dense: mlp.experts" in out
    assert "mlp.gate (0.9%, selects experts or tokens)" in out
    assert "unknown          the activations and the time of a forward and an evaluation, counted as none" in out


def test_runs_evaluations_and_exports_say_it_too(nmlab, mixture, tmp_path):
    code, out, err = nmlab("run", "magnitude", "--model", mixture, "--leave-dense", "experts", *SHORT, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["coverage"].startswith("prunes 14.2% of the decoder blocks' matrix weights; left dense: mlp.experts")
    assert result["spec"]["model"]["leave_dense"] == ["experts"]
    record = json.loads((tmp_path / "results" / "runs" / result["key"] / "trial.json").read_text())
    assert record["coverage"] == result["coverage"]
    for target in (result["folder"], f"{result['folder']}/mask.safetensors"):
        code, out, err = nmlab("evaluate", target, "--windows", 2, "--json")
        assert code == 0, err
        evaluated = json.loads(out)
        assert evaluated["coverage"] == result["coverage"]
        assert evaluated["covered"] == pytest.approx(0.142, abs=1e-3)
        assert evaluated["model"]["leave_dense"] == ["experts"]
    code, out, err = nmlab("evaluate", result["folder"], "--windows", 2)
    assert "2:4 in all 8 prunable layers" in out
    assert "coverage               prunes 14.2%" in out
    code, out, err = nmlab("export", result["folder"], "--format", "hf", "--output", tmp_path / "out")
    assert code == 0, err
    assert "coverage: prunes 14.2%" in out
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| coverage | {result['coverage']} |" in card
    assert "`mlp.experts.gate_up_proj`" in card


@pytest.mark.slow
def test_a_method_that_measures_inputs_is_refused_where_there_are_none_to_see(refused, nmlab, saved, tmp_path):
    mamba = saved("mamba", state_size=8, time_step_rank=4)
    message = "the model takes its weight without calling the layer, so its inputs cannot be measured"
    assert message in refused("run", "wanda", "--model", mamba, *SHORT)
    assert message in refused("run", "maskpro", "--set", "initial_mask=wanda", "--model", mamba, *SHORT)
    assert message in refused("run", "first_order", "--model", mamba, *SHORT)
    assert message in refused("run", "maskpro", "--set", "initial_mask=first_order", "--model", mamba, *SHORT)
    baselines = _study(tmp_path, mamba)
    assert message in refused("plan", baselines, "--set", "baselines=[wanda]")
    assert nmlab("plan", baselines)[0] == 0
    left = ("--leave-dense", "dt_proj")
    assert nmlab("run", "wanda", "--model", mamba, *left, *SHORT)[0] == 0


def test_weights_that_are_no_numbers_stop_every_method_with_their_name(refused, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = "1 of the 3072 values of model.layers.1.mlp.down_proj.weight are NaN or infinite in float32"
    for method in ("dense", "random", "magnitude", "wanda", "maskpro"):
        assert message in refused("run", method, "--model", folder, *SHORT)
    assert message in refused("evaluate", folder)


def test_quantised_weights_and_adapters_are_refused_by_every_verb(refused, tmp_path):
    folder = tmp_path / "quantised"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    config = json.loads((folder / "config.json").read_text())
    quantised = {**config, "quantization_config": {"quant_method": "awq", "bits": 4}}
    (folder / "config.json").write_text(json.dumps(quantised))
    verbs = (("run", "magnitude", "--model", folder), ("evaluate", folder), ("plan", _study(tmp_path, folder)))
    for arguments in verbs:
        assert "its weights are quantised (awq)" in refused(*arguments)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "adapter_config.json").write_text("{}")
    for arguments in verbs:
        assert "an adapter (adapter_config.json) lies beside the full weights" in refused(*arguments)
