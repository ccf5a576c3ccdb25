"""The built-in checkpoint: complete, small, as recorded, and with room for better masks."""

import json
from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from nmlab.trials.data import python_docs
from nmlab.trials.models.tiny import train

FOLDER = Path(str(resources.files("nmlab.trials.models.tiny")))
RECORD = json.loads((FOLDER / "training.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def evaluation(tokenizer):
    """The token stream [T] of the evaluation part."""
    return train.encode(python_docs.documents("evaluation"), tokenizer=tokenizer)


def _block_linears(model) -> list[torch.nn.Linear]:
    return [module for module in model.model.layers.modules() if isinstance(module, torch.nn.Linear)]


def test_the_checkpoint_is_small():
    files = [*FOLDER.glob("*.json"), *FOLDER.glob("*.safetensors")]
    assert sum(file.stat().st_size for file in files) < 4e6


def test_the_weights_are_the_recorded_ones():
    assert train.sha256(FOLDER / "model.safetensors") == RECORD["weights_sha256"]
    assert all(tensor.dtype == torch.float32 for tensor in load_file(FOLDER / "model.safetensors").values())


def test_prunable_layers_divide_by_every_group_size(model):
    linears = _block_linears(model)
    assert len(linears) == 14
    assert sum(linear.weight.numel() for linear in linears) == 26_624
    assert all(linear.in_features % 32 == 0 for linear in linears)


def test_every_way_of_loading_the_tokenizer_splits_alike(tokenizer):
    plain = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    for text in python_docs.documents("evaluation")[:10]:
        assert tokenizer(text, verbose=False).input_ids == plain.encode(text).ids


@pytest.mark.parametrize("text", ["def f(x):\n\treturn x", "naïve café – 日本語 🙂", "", "  two  spaces "])
def test_the_tokenizer_round_trips_any_text(tokenizer, text: str):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_documents_end_with_one_token(tokenizer):
    stream_T = train.encode(["ab", "cd"], tokenizer=tokenizer)
    assert (stream_T == tokenizer.eos_token_id).sum() == 2
    assert stream_T[-1] == tokenizer.eos_token_id


def test_perplexity_is_the_recorded_one(model, evaluation):
    measured = train.token_perplexity(model, tokens_T=evaluation[: train.MEASURED_TOKENS])
    # Another Python version documents the same modules in somewhat different words.
    tolerance = 1e-3 if RECORD["data_digest"] == python_docs.digest() else 0.1
    assert measured == pytest.approx(RECORD["token_perplexity"]["evaluation"], rel=tolerance)


def test_the_model_has_not_learnt_its_training_part_by_heart():
    perplexity = RECORD["token_perplexity"]
    assert perplexity["evaluation"] < 2 * perplexity["training"]


def test_magnitude_pruning_hurts(model, evaluation):
    stream_T = evaluation[: 80 * train.WINDOW]
    dense = train.token_perplexity(model, tokens_T=stream_T)
    for linear in _block_linears(model):
        groups = linear.weight.data.view(-1, 4)
        groups.scatter_(1, groups.abs().topk(2, dim=1, largest=False).indices, 0.0)
    assert train.token_perplexity(model, tokens_T=stream_T) > 2.5 * dense


@pytest.mark.slow
def test_the_script_writes_a_checkpoint_and_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train, "MEASURED_TOKENS", 2000)
    train.main(["--output", str(tmp_path), "--steps", "2"])
    record = json.loads((tmp_path / "training.json").read_text())
    assert record.keys() == RECORD.keys()
    assert record["steps"] == len(record["loss_curve"]) == 2
    assert record["weights_sha256"] == train.sha256(tmp_path / "model.safetensors")
    stream_T = train.encode(python_docs.documents("training")[:20], tokenizer=AutoTokenizer.from_pretrained(tmp_path))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    measured = train.token_perplexity(loaded, tokens_T=stream_T[:2000])
    assert measured == pytest.approx(record["token_perplexity"]["training"], rel=1e-5)


@pytest.mark.slow
def test_training_learns_and_the_same_seed_learns_the_same(tokenizer, evaluation):
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        model = train.new_model(tokenizer)
        losses = train.train(model, tokens_T=evaluation, steps=12, seed=0)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert losses[-1] < losses[0]
    assert torch.equal(*weights)


def test_perplexity_of_a_uniform_model_is_the_vocabulary(model):
    model.lm_head.weight.data.zero_()
    tokens_T = torch.arange(600) % train.VOCABULARY
    assert train.token_perplexity(model, tokens_T=tokens_T) == pytest.approx(train.VOCABULARY, rel=1e-4)
