"""Train a small language model on any text, to repeat the studies on a model other than `builtin:tiny`.

    python examples/train_small_model.py 'corpus.txt[:80%]' --output small --held-out 'corpus.txt[90%:]'
    nmlab sweep methods-2-4 --set model.source=small --set 'data.calibration.source=corpus.txt[80%:86%]' \\
        --set 'data.validation.source=corpus.txt[86%:90%]' --set 'data.evaluation.source=corpus.txt[90%:]'

A text is whatever a study takes: a text file, a folder of them, JSON lines, or a slice such as `corpus.txt[:80%]`. The
tokenizer is a byte-level BPE of its own, learned from the same text. Architecture: Qwen3
(https://arxiv.org/abs/2505.09388) with grouped-query attention; 304 128 prunable weights at the default size. Training
is that of `builtin:tiny` (`trials/models/tiny/train.py`): next-token cross-entropy on random windows, float32, AdamW.
The same arguments, thread count and package versions give the same weights.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data.sources import TextSource, read_documents
from nmlab.trials.models.prunable import prunable_layers
from nmlab.trials.models.tiny.train import (
    MEASURED_TOKENS,
    WINDOW,
    encode,
    save,
    sha256,
    token_perplexity,
    train,
    train_tokenizer,
)

HEADS, KEY_VALUE_HEADS = 4, 2
LARGEST_GROUP = 16  # of the patterns in the studies; all input widths are multiples of it


@dataclass(frozen=True)
class Shape:
    """Hidden width and number of decoder blocks; the feed-forward part is 8/3 as wide, as in Llama."""

    width: int
    blocks: int

    def __post_init__(self) -> None:
        unit = 3 * LARGEST_GROUP
        if self.width < unit or self.width % unit:
            raise ValueError(
                f"--width {self.width}: expected a multiple of {unit}, so that every group up to M = 16 fits"
            )
        if self.blocks < 1:
            raise ValueError(f"--blocks {self.blocks}: expected at least 1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure and save; `arguments` defaults to the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        make(options)
    except (SourceError, ValueError) as error:
        parser.error(str(error))


def make(options: argparse.Namespace) -> None:
    """Write the model's folder and a record of how it was made; raises ``ValueError`` for bad text or sizes."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    shape = Shape(options.width, options.blocks)
    documents = {source: _read(source) for source in (options.text, options.held_out) if source}
    tokenizer = train_tokenizer(documents[options.text], vocabulary=options.vocabulary)
    streams = {source: encode(texts, tokenizer=tokenizer) for source, texts in documents.items()}
    for source, stream_T in streams.items():
        if len(stream_T) <= WINDOW:
            raise ValueError(f"text {source!r} has {len(stream_T)} tokens, expected more than one window of {WINDOW}")
    model = new_model(shape, tokenizer=tokenizer)
    rate = options.learning_rate
    losses = train(model, tokens_T=streams[options.text], steps=options.steps, seed=options.seed, learning_rate=rate)
    record = {
        "arguments": {name: str(value) for name, value in vars(options).items()},
        "prunable_weights": sum(layer.numel for layer in prunable_layers(model)),
        "corpus_tokens": {source: len(stream_T) for source, stream_T in streams.items()},
        "last_loss": sum(losses[-100:]) / len(losses[-100:]),
        "token_perplexity": {
            source: token_perplexity(model, tokens_T=stream_T[:MEASURED_TOKENS]) for source, stream_T in streams.items()
        },
        "weights_sha256": sha256(save(model, tokenizer=tokenizer, folder=options.output)),
    }
    (options.output / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def new_model(shape: Shape, *, tokenizer: Any) -> Any:
    """Return the untrained model, drawn from torch's global random state."""
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.width * 8 // 3,
        num_hidden_layers=shape.blocks,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        head_dim=shape.width // HEADS,
        max_position_embeddings=WINDOW,
        # As `builtin:tiny`: the customary 0.02 suits widths in the thousands; pruning would hardly hurt the model.
        initializer_range=0.6 / shape.width**0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,  # it is the end-of-text token, whose embedding would then never learn
    )
    return transformers.Qwen3ForCausalLM(config).float()


def _read(source: str) -> list[str]:
    return read_documents(TextSource(source, part="training"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "text", help="what to learn from, as a study names it: corpus.txt, 'corpus.txt[:80%%]', a folder"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write; made if missing")
    parser.add_argument("--held-out", help="text to measure the perplexity on")
    parser.add_argument("--vocabulary", type=int, default=1024, help="entries of the tokenizer")
    parser.add_argument("--width", type=int, default=96, help="a multiple of 48")
    parser.add_argument("--blocks", type=int, default=3, help="decoder blocks")
    parser.add_argument("--steps", type=int, default=3000, help="optimiser steps of 16 windows of 256 tokens")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="the highest, after warm-up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; the weights depend on it")
    return parser


if __name__ == "__main__":
    main()
