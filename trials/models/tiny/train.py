"""Train the checkpoint behind `builtin:tiny`: a two-layer language model of Python's own documentation.

    python -m nmlab.trials.models.tiny.train --output DIR

The model is small enough that a trial of thousands of masked forward passes takes seconds on one CPU core,
and trained for long enough that 2:4 magnitude pruning hurts it badly: better masks have something to win.
Architecture: Qwen2 (https://arxiv.org/abs/2407.10671), width 32, 26 624 prunable weights in its two blocks.
Training: next-token cross-entropy in float32, AdamW, linear warm-up, cosine decay, random windows.
The same seed, step count, thread count and package versions give the same weights.

Axes: B windows of one batch, L tokens of one window, W windows of one part, T tokens of one part.
"""

import argparse
import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import torch
import transformers
from rich.progress import Progress
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nmlab.trials.contract.values import JsonObject
from nmlab.trials.data import python_docs

VOCABULARY = 512
WINDOW = 256  # tokens; also the longest context that the model knows
BATCH = 16  # windows
WIDTH = 32
INITIAL_SPREAD = 0.1  # standard deviation; the customary 0.02 suits widths in the hundreds and thousands
PEAK_LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.01
WARMUP_STEPS = 200
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")  # whose versions are recorded
MEASURED_TOKENS = 100_000  # of each part, from its beginning


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure and save; `arguments` defaults to the command line."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = train_tokenizer(python_docs.documents("training"))
    streams = {part: encode(python_docs.documents(part), tokenizer=tokenizer) for part in python_docs.PARTS}
    model = new_model(tokenizer)
    started = time.monotonic()
    losses = train(model, tokens_T=streams["training"], steps=options.steps, seed=options.seed)
    seconds = round(time.monotonic() - started, 1)
    weights = save(model, tokenizer=tokenizer, folder=options.output)
    record = {**_settings(options), "seconds": seconds, **_outcome(model, streams=streams, losses=losses)}
    record["weights_sha256"] = sha256(weights)
    (options.output / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["token_perplexity"]))


def train_tokenizer(documents: Sequence[str], *, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerBase:
    """Return a fast byte-level BPE tokenizer of `vocabulary` entries; text in NFC round-trips."""
    # Qwen2's own class: for this model type AutoTokenizer replaces any other pre-tokenizer by Qwen2's.
    blank = transformers.Qwen2Tokenizer(model_max_length=WINDOW)
    return blank.train_new_from_iterator(documents, vocabulary, show_progress=False)


def encode(documents: Sequence[str], *, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Return one part as a single stream of token ids [T] int64, end-of-text after each document."""
    encoded = tokenizer([text + tokenizer.eos_token for text in documents], verbose=False)
    return torch.tensor([token for document in encoded["input_ids"] for token in document])


def new_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return the untrained model, drawn from torch's global random state; all input widths divide by 32."""
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=WINDOW,
        initializer_range=INITIAL_SPREAD,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,  # it is the end-of-text token, whose embedding would then never learn
    )
    return transformers.Qwen2ForCausalLM(config).float()


def train(
    model: PreTrainedModel, *, tokens_T: torch.Tensor, steps: int, seed: int, learning_rate: float = PEAK_LEARNING_RATE
) -> list[float]:
    """Train in place on random windows of the stream and return the loss of every step, in nats a token."""
    windows = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, steps)
    losses: list[float] = []
    model.train()
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for _ in range(steps):
            starts_B1 = torch.randint(len(tokens_T) - WINDOW, (BATCH, 1), generator=windows)
            loss = _loss(model, tokens_BL=tokens_T[starts_B1 + torch.arange(WINDOW)])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            progress.update(task, advance=1, description=f"loss {losses[-1]:.3f}")
    return losses


@torch.inference_mode()
def token_perplexity(model: PreTrainedModel, *, tokens_T: torch.Tensor, window: int = WINDOW) -> float:
    """Return exp(mean nats a token) over whole consecutive windows; the first token of each is context."""
    model.eval()
    tokens_WL = tokens_T[: len(tokens_T) // window * window].view(-1, window)
    batches = torch.split(tokens_WL, BATCH)
    total = sum(_loss(model, tokens_BL=batch_BL).item() * len(batch_BL) for batch_BL in batches)
    return math.exp(total / len(tokens_WL))


def save(model: PreTrainedModel, *, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    """Write model and tokenizer as a Hugging Face folder (made if missing); return the weights file."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = folder / "model.safetensors"
    weights.chmod(0o644)  # safetensors makes it private to its owner
    return weights


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _loss(model: PreTrainedModel, *, tokens_BL: torch.Tensor) -> torch.Tensor:
    logits_BLV = model(input_ids=tokens_BL, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits_BLV.flatten(0, 1), tokens_BL[:, 1:].flatten())


def _thinned(losses: Sequence[float], *, points: int) -> dict[int, float]:
    """Average the loss over about `points` stretches: last step of the stretch -> mean loss."""
    size = max(1, len(losses) // points)
    stretches = [losses[start : start + size] for start in range(0, len(losses), size)]
    return {index * size + len(part): round(fmean(part), 4) for index, part in enumerate(stretches)}


def _outcome(model: PreTrainedModel, *, streams: Mapping[str, torch.Tensor], losses: Sequence[float]) -> JsonObject:
    measured = {part: stream_T[:MEASURED_TOKENS] for part, stream_T in streams.items()}
    return {
        "corpus_tokens": {part: len(stream_T) for part, stream_T in streams.items()},
        "token_perplexity": {part: token_perplexity(model, tokens_T=measured[part]) for part in measured},
        "loss_curve": _thinned(losses, points=40),
    }


def _settings(options: argparse.Namespace) -> JsonObject:
    return {
        "command": f"python -m nmlab.trials.models.tiny.train --steps {options.steps} --seed {options.seed}"
        f" --threads {options.threads} --output DIR",
        "seed": options.seed,
        "steps": options.steps,
        "threads": options.threads,
        "batch_windows": BATCH,
        "window_tokens": WINDOW,
        "initial_spread": INITIAL_SPREAD,
        "peak_learning_rate": PEAK_LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "warmup_steps": WARMUP_STEPS,
        "data": "builtin:python-docs",
        "data_digest": python_docs.digest(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "tokens_seen": options.steps * BATCH * WINDOW,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the checkpoint behind builtin:tiny.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; made if missing")
    parser.add_argument("--steps", type=int, default=2500, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; the weights depend on it")
    return parser


if __name__ == "__main__":
    main()
