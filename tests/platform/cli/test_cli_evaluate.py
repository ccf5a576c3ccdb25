"""`nmlab evaluate`, `diff` and `export` on real runs: what is printed, what is recorded, what is refused."""

import io
import json

import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from tokenizers.normalizers import Replace
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from nmlab.platform import cli
from nmlab.platform.tracking import MlflowStore
from nmlab.reports.read.store import open_store
from nmlab.search_spaces import loader
from nmlab.trials.models import ModelSource, locate
from nmlab.trials.models.frozen import read_tokenizer

pytestmark = pytest.mark.lm_eval

SHORT = ("--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")
QUIZ = [
    {"question": "Two of every _ are kept.", "choices": ["four", "eight", "nine"], "label": 0},
    {"question": "The _ drops the rest.", "choices": ["mask", "model"], "label": 1},
    {"question": "A _ keeps its place.", "choices": ["weight", "mask"], "label": 0},
]


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
def asked(nmlab):
    def call(*arguments):
        code, out, err = nmlab(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

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
def quiz(tmp_path):
    path = tmp_path / "quiz.jsonl"
    path.write_text("\n".join(map(json.dumps, QUIZ)))
    return path


def _runs(uri, experiment="runs"):
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], "tags.`nmlab.kind` = 'trial'")


def test_evaluating_a_run_again_gives_the_same_numbers(asked, tracking_uri, tmp_path):
    ran = asked("run", "magnitude", *SHORT)
    (run,) = _runs(tracking_uri)
    folder = tmp_path / "results" / "runs" / ran["key"]
    for target in (run.info.run_id, ran["key"], ran["key"][:8], folder, folder / "mask.safetensors"):
        found = asked("evaluate", target)
        assert {name: found["metrics"][name] for name in found["metrics"]} == {
            name: ran["metrics"][name] for name in found["metrics"]
        }
        assert (found["mask"]["method"], found["sparsity"]["pattern"]) == ("magnitude", "2:4")
        assert found["recorded"] is None
    assert len(_runs(tracking_uri)) == 1


@pytest.mark.slow
def test_tasks_are_added_to_the_run_that_the_mask_came_from(asked, refused, tracking_uri, quiz):
    key = asked("run", "magnitude", *SHORT)["key"]
    first = asked("evaluate", key, "--tasks", quiz, "--record")
    again = asked("evaluate", key, "--tasks", quiz, "--record")
    (run,) = _runs(tracking_uri)
    assert first["recorded"] == again["recorded"] == run.info.run_id
    client = MlflowClient(tracking_uri=tracking_uri)
    (point,) = client.get_metric_history(run.info.run_id, "eval/quiz/acc")
    assert point.value == first["metrics"]["eval/quiz/acc"]
    content = open_store(tracking_uri).artifact(run.info.run_id, name="tasks.npz")
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        assert kept["quiz/acc"].mean() == point.value
    assert json.loads(run.data.tags["nmlab.tasks"]) == first["tasks"]
    assert "holds other tasks already" in refused("evaluate", key, "--tasks", f"{quiz}:blank", "--record")
    assert "already has its perplexity" in refused("evaluate", key, "--record")


@pytest.mark.slow
def test_a_run_is_evaluated_at_once_as_by_evaluate(asked, nmlab, tracking_uri, quiz):
    options = ("--tasks", f"{quiz}:blank", "--questions", "2", "--few-shot", "1", "--windowing", "rolling")
    ran = asked("run", "magnitude", *SHORT, *options)
    evaluation = ran["spec"]["evaluation"]
    assert (evaluation["windowing"], evaluation["few_shot"], evaluation["questions"]) == ("rolling", 1, 2)
    found = asked("evaluate", ran["key"])
    measured = {name: value for name, value in ran["metrics"].items() if name.startswith("eval/")}
    assert {"eval/quiz/acc", "eval/quiz/acc_norm"} <= measured.keys()
    assert found["metrics"] == measured
    (run,) = _runs(tracking_uri)
    assert json.loads(run.data.tags["nmlab.tasks"]) == found["tasks"]
    assert found["tasks"]["tasks"]["quiz"]["questions"] == 2
    code, out, _ = nmlab("run", "magnitude", *SHORT, *options)
    assert code == 0
    assert f"eval/quiz/acc            {measured['eval/quiz/acc']:.6g}\n" in out


@pytest.mark.parametrize(
    ("given", "learned", "held_out"),
    [
        ((), ("org/text", "train[:80%]"), ("org/text", "train[80%:]")),
        (("--split", "all"), ("org/text", "all[:80%]"), ("org/text", "all[80%:]")),
        (("--split", "all", "--evaluation-split", "rest"), ("org/text", "all"), ("org/text", "rest")),
        (("--evaluation", "org/other"), ("org/text", None), ("org/other", None)),
    ],
)
def test_a_dataset_is_cut_at_its_split(asked, monkeypatch, given, learned, held_out):

    def documents(text):
        return [f"Sentence {number} of the {text.part} text {text.split}. " * 5 for number in range(200)]

    monkeypatch.setattr("nmlab.trials.data.sources._hub", documents)
    spec = asked("run", "dense", *SHORT, "--data", "org/text", "--column", "page", *given)["spec"]
    assert (spec["calibration"]["source"], spec["calibration"]["split"]) == learned
    assert (spec["evaluation"]["source"], spec["evaluation"]["split"]) == held_out
    assert spec["calibration"]["column"] == spec["evaluation"]["column"] == "page"


def test_a_checkpoint_from_elsewhere_gets_a_run_of_its_own(asked, nmlab, tracking_uri, tmp_path):
    key = asked("run", "sparsegpt", *SHORT)["key"]
    code, out, _ = nmlab("export", key, "--format", "hf", "--output", tmp_path / "pruned")
    assert code == 0
    assert "logits differ by at most 0" in out
    options = ("--sequence-length", "32", "--windows", "4", "--batch-size", "2", "--record", "--label", "theirs")
    first, again = (asked("evaluate", tmp_path / "pruned", *options) for _ in range(2))
    assert first["recorded"] == again["recorded"]
    runs = {run.data.params["method"]: run for run in _runs(tracking_uri)}
    assert runs.keys() == {"sparsegpt", "theirs"}
    theirs, ours = runs["theirs"], runs["sparsegpt"]
    assert theirs.data.params["pattern"] == "2:4"
    assert theirs.data.metrics["eval/perplexity"] == ours.data.metrics["eval/perplexity"]
    assert theirs.data.tags["nmlab.status"] == "finished"
    artifacts = {item.path for item in MlflowClient(tracking_uri=tracking_uri).list_artifacts(theirs.info.run_id)}
    assert "evaluation.npz" in artifacts


@pytest.fixture
def launch(tracking_uri, tmp_path, quiz):
    """The parent run of a launch of a small study, without trials."""
    study = loader.load(
        "quickstart",
        overrides=[
            "data.evaluation={source: 'builtin:python-docs', sequence_length: 32, windows: 4, windowing: rolling}",
            f"data.evaluation.tasks=['{quiz}']",
        ],
    )
    store = MlflowStore("quickstart", launch="quickstart-1", uri=tracking_uri)
    store.begin({}, {"search.metric": "eval/perplexity"})
    (tmp_path / "study.yaml").write_text(loader.dump(study))
    store.attach(tmp_path / "study.yaml")
    return store.parent


@pytest.mark.slow
def test_a_model_joins_the_table_of_a_study_evaluated_as_the_study_does(asked, refused, launch, tracking_uri, quiz):
    found = asked("evaluate", "builtin:tiny", "--study", "quickstart", "--record", "--label", "untouched")
    (run,) = _runs(tracking_uri, "quickstart")
    assert run.info.run_id == found["recorded"]
    assert run.data.tags["mlflow.parentRunId"] == launch
    assert run.data.tags["nmlab.launch"] == "quickstart-1"
    assert (run.data.tags["nmlab.role"], run.data.tags["nmlab.judged"]) == ("baseline", "true")
    assert run.data.params["data.evaluation.windowing"] == "rolling"
    assert run.data.params["data.evaluation.tasks"] == str(quiz)
    assert run.data.metrics["eval/quiz/acc"] == found["metrics"]["eval/quiz/acc"]
    message = refused("evaluate", "builtin:tiny", "--study", "quickstart", "--windows", "3")
    assert "drop --windows" in message
    assert "did you mean 'quickstart'" in refused("evaluate", "builtin:tiny", "--study", "quikstart")
    assert "no launch 'quickstart/x' in sqlite" in refused("evaluate", "builtin:tiny", "--study", "quickstart/x")


@pytest.mark.slow
def test_a_model_that_reads_the_text_differently_joins_no_table(refused, asked, launch, tmp_path):
    asked("evaluate", "builtin:tiny", "--study", "quickstart", "--record")
    sizes = {"hidden_size": 32, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    OPTForCausalLM(OPTConfig(vocab_size=512, word_embed_proj_dim=32, **sizes)).save_pretrained(tmp_path / "other")
    backend = read_tokenizer(
        locate(ModelSource(source="builtin:tiny")), ModelSource(source="builtin:tiny")
    ).backend_tokenizer
    backend.normalizer = Replace("e", "xyz")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>").save_pretrained(tmp_path / "other")
    message = refused("evaluate", tmp_path / "other", "--study", "quickstart", "--record", "--label", "other")
    assert "reads the text differently" in message


@pytest.mark.slow
def test_two_masks_are_compared_layer_by_layer(asked, nmlab, refused):
    keys = [asked("run", *command, *SHORT)["key"] for command in (("magnitude",), ("random", "--seed", "1"))]
    found = asked("diff", *keys)
    assert found["patterns"] == ["2:4", "2:4"]
    assert len(found["layers"]) == 14
    assert found["chance"]["agreement"] == 0.5
    assert found["total"]["agreement"] == pytest.approx(0.5, abs=0.02)
    assert asked("diff", keys[0], keys[0])["total"]["same_groups"] == 1
    code, out, _ = nmlab("diff", *keys)
    assert code == 0
    assert out.splitlines()[-1].split()[:3] == ["chance", "50.0%", "50.0%"]
    assert "follows no N:M pattern" in refused("diff", "builtin:tiny", keys[0])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has kernels to measure")
def test_speed_is_printed_dense_and_masked_and_why_not_sparse(asked):
    key = asked("run", "magnitude", *SHORT)["key"]
    use = asked("evaluate", key, "--speed")["use"]
    dense, masked, sparse = use["tokens_per_second"]
    assert [each["name"] for each in (dense, masked)] == ["dense", "masked, dense kernels"]
    assert all(each["prefill"] > 0 and each["decode"] > 0 for each in (dense, masked))
    assert (sparse["prefill"], sparse["decode"]) == (None, None)
    assert "need a CUDA GPU" in sparse["skipped"]
    assert use["workload"]["generated"] > 0
    assert use["flops"]["dense"] - use["flops"]["with_pattern"] == use["flops"]["prunable"] / 2


@pytest.mark.slow
def test_text_output(nmlab):
    code, out, _ = nmlab("evaluate", "builtin:tiny", "--windows", "2", "--speed")
    assert code == 0
    assert "none in any of 14 layers" in out
    assert "tokens/s masked, dense kernels" in out
    assert "tokens/s masked, sparse kernels" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "./none"), "model folder './none' does not exist"),
        (("evaluate", "abcdef0123"), "no run 'abcdef0123' in"),
        (("evaluate", "quiz.jsonl"), "not a readable safetensors file"),
        (("evaluate", "builtin:tinny"), "did you mean 'builtin:tiny'?"),
        (
            ("evaluate", "builtin:tiny", "--windowing", "rolled"),
            "unknown --windowing 'rolled'; did you mean 'rolling'?",
        ),
        (("evaluate", "builtin:tiny", "--sequence-length", "1000"), "the model reads at most 256 tokens"),
        (("evaluate", "builtin:tiny", "--data", "none.txt"), "data file 'none.txt' does not exist"),
        (("evaluate", "builtin:tiny", "--tasks", "none.jsonl"), "task file 'none.jsonl' does not exist"),
        (("evaluate", "builtin:tiny", "--dtype", "float23"), "unknown dtype 'float23'"),
        (("evaluate", "builtin:tiny", "--model", "builtin:tiny"), "--model is for masks"),
        (("export", "builtin:tiny", "-f", "hf", "-o", "out"), "follows no N:M pattern"),
        (("export", "builtin:tiny", "-f", "hff", "-o", "out"), "unknown format 'hff'; did you mean 'hf'?"),
        (("diff", "none.npz", "builtin:tiny"), "none.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_refused_in_one_line(refused, quiz, tmp_path, arguments, message):
    assert message in refused(*arguments)
    assert not (tmp_path / "out").exists()
