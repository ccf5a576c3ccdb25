"""A small real model, a small real text, and one-trial configurations on them."""

import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerBase

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.models.frozen import weights_digest
from nmlab.trials.models.prunable import prunable_layers
from nmlab.trials.models.sources import BUILTIN, DATA_ONLY

SAMPLES, LENGTH, BATCH = 8, 16, 2
_WORDS = ("mask", "weight", "of", "the", "layer", "keeps", "two", "and", "drops", "others", "sparse", "model")


def small_text(folder: Path) -> Path:
    """Write twelve thousand characters of sentences over a small vocabulary, always the same; return the file."""
    draw = random.Random(0)
    sentences = (" ".join(draw.choices(_WORDS, k=draw.randint(4, 12))) + ".\n" for _ in range(270))
    path = folder / "text.txt"
    path.write_text("".join(sentences), encoding="utf-8")
    return path


def small_replica(*, dtype: str = "float32", tied: bool = False, initial_masks: Path | None = None) -> ReplicaContext:
    """Return a two-block Llama with random weights, 4608 of them prunable, and the tokenizer that nmlab ships.

    With ``tied`` its output weights are its embeddings. ``initial_masks`` is the replica context's folder of that name.
    """
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), trust_remote_code=False)
    module = module.eval().requires_grad_(False)
    source = ModelSource(source="test:small", dtype=dtype)
    frozen = FrozenModel(source, module, _tokenizer(), prunable_layers(module), weights_digest(module))
    return ReplicaContext(frozen, initial_masks=initial_masks)


@cache
def _tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN["builtin:tiny"], **DATA_ONLY)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def small_spec(method: str, *, text: Path, pattern: str = "2:4", seed: int = 0, **fields: Any) -> TrialSpec:
    """Return a trial on four minibatches of two sequences of 16 tokens, evaluated on six windows.

    ``fields`` are further fields of ``TrialSpec``, such as ``hyperparameters`` and ``budget``.
    """
    return TrialSpec(
        method=method,
        pattern=pattern,
        seed=seed,
        model=ModelSource(source="test:small"),
        calibration=CalibrationSpec(source=f"{text}[:50%]", samples=SAMPLES, sequence_length=LENGTH, batch_size=BATCH),
        evaluation=EvaluationSpec(source=f"{text}[50%:]", sequence_length=24, windows=6, batch_size=4),
        **fields,
    )
