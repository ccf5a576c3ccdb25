"""The example that trains a model from a text file: what it writes can be pruned, and bad input is told in one line."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.data import python_docs
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.models.prunable import check_divisible

SCRIPT = Path(__file__).parents[1] / "examples" / "train_small_model.py"
SMALL = ["--vocabulary", "320", "--width", "48", "--blocks", "1", "--steps", "3"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_small_model", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("\n".join(python_docs.documents("calibration"))[:20_000], encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def trained(script, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    script.main([f"{text}[:80%]", "--output", str(folder), "--held-out", f"{text}[80%:]", *SMALL])
    return folder


def test_the_model_can_be_pruned_at_every_pattern_of_the_studies(trained):
    frozen = FrozenModel.load(ModelSource(source=str(trained)))
    for pattern in ("2:4", "2:8", "4:8", "8:16"):
        check_divisible(frozen.layers, pattern=Pattern.parse(pattern))
    assert frozen.vocabulary_size == len(frozen.tokenizer) == 320
    assert frozen.tokenizer.decode(frozen.tokenizer("Return a copy.")["input_ids"]) == "Return a copy."


def test_the_record_says_what_was_trained_on_what(trained, text):
    record = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert record["prunable_weights"] == 48 * 48 * 3 + 3 * 48 * 128
    assert list(record["token_perplexity"]) == [f"{text}[:80%]", f"{text}[80%:]"]
    assert record["arguments"]["steps"] == "3"


def test_the_same_arguments_give_the_same_weights(script, trained, text, tmp_path):
    script.main([f"{text}[:80%]", "--output", str(tmp_path), *SMALL])
    assert (tmp_path / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--width", "50"], "--width 50: expected a multiple of 48"),
        (["--blocks", "0"], "--blocks 0: expected at least 1"),
        (["--held-out", "missing.txt"], "data file 'missing.txt' does not exist"),
    ],
)
def test_bad_input_is_told_in_one_line(script, text, tmp_path, capsys, changed, message):
    with pytest.raises(SystemExit) as ended:
        script.main([text, "--output", str(tmp_path / "model"), *SMALL, *changed])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "model").exists()


def test_a_text_shorter_than_a_window_is_refused(script, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("Too short.")
    with pytest.raises(SystemExit):
        script.main([str(tmp_path / "short.txt"), "--output", str(tmp_path / "model"), *SMALL])
    assert "tokens, expected more than one window of 256" in capsys.readouterr().err
