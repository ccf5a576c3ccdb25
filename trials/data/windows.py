"""Cut documents into fixed windows of tokens.

Legend: W windows, L predicted tokens of a window. A window holds L+1 tokens, the first of which is context only, and
consecutive windows overlap by that one token: every token of the text but the first is predicted exactly once. Held-out
text can also be cut document by document (`rolling`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nmlab.trials.data.rolling import rolling_windows, word_starts
from nmlab.trials.data.sources import TextSource, documents_digest, read_documents
from nmlab.trials.errors import SourceError

Windowing = Literal["joined", "rolling"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Tokens int64 [W, L+1], the number of words that begin in each window's predicted part [W], and a digest.

    ``predicted`` is boolean [W, L] and says which tokens after the first count; None means all of them.
    """

    tokens: Tensor
    words: Tensor
    digest: str
    predicted: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def evaluation_windows(
    text: TextSource,
    *,
    tokenizer: PreTrainedTokenizerBase,
    sequence_length: int,
    limit: int | None = None,
    windowing: Windowing = "joined",
) -> Windows:
    """Return the windows of a text from its beginning, at most ``limit`` of them.

    ``joined`` cuts all documents, joined by the end-of-text token, into equal windows and leaves a last partial one
    out; ``rolling`` cuts every document by itself, as lm-evaluation-harness does (see ``rolling_windows``). Raises
    ``SourceError`` when the text is shorter than one window.
    """
    if windowing == "rolling":
        documents = read_documents(text)
        tokens, words, predicted = rolling_windows(documents, tokenizer=tokenizer, length=sequence_length)
        digest = documents_digest(documents)
        return Windows(tokens[:limit], words[:limit], digest, predicted[:limit])
    every = _all_windows(text, tokenizer, sequence_length)
    if not len(every):
        raise SourceError(f"data {text.source!r} is shorter than one window of {sequence_length} tokens")
    return Windows(every.tokens[:limit], every.words[:limit], every.digest)


def calibration_batches(
    text: TextSource,
    *,
    tokenizer: PreTrainedTokenizerBase,
    samples: int,
    sequence_length: int,
    batch_size: int,
    seed: int,
) -> list[Tensor]:
    """Return ``samples`` windows of ``sequence_length`` tokens, drawn without replacement, as fixed minibatches.

    The minibatches are the same whatever trial asks, so that losses of one mask on one minibatch can be reused.
    Raises ``SourceError`` with the number of samples the text would give when it is too short.
    """
    every = _all_windows(text, tokenizer, sequence_length - 1)
    if len(every) < samples:
        raise SourceError(
            f"data {text.source!r} gives {len(every)} windows of {sequence_length} tokens, "
            f"{samples} samples were asked; lower samples or sequence_length, or give more text"
        )
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))[:samples]
    return list(torch.split(every.tokens[order], batch_size))


def _all_windows(text: TextSource, tokenizer: PreTrainedTokenizerBase, length: int) -> Windows:
    documents = read_documents(text)
    tokens, starts = _encode(documents, tokenizer)
    count = max(0, (len(tokens) - 1) // length)
    index_WL = torch.arange(count)[:, None] * length + torch.arange(length + 1)
    words = starts[1 : count * length + 1].view(count, length).sum(1)
    return Windows(tokens[index_WL], words, documents_digest(documents))


def _encode(documents: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[Tensor, Tensor]:
    """Return the tokens of all documents joined by the end-of-text token, and how many words begin in each token."""
    if not tokenizer.is_fast:
        raise SourceError(f"tokenizer {type(tokenizer).__name__} is not a fast one; convert it with tokenizers first")
    separator = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens: list[int] = []
    starts: list[np.ndarray] = []
    for document in documents:
        encoded = tokenizer(document, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        tokens += encoded["input_ids"] + separator
        starts.append(word_starts(document, encoded["offset_mapping"]))
        starts.append(np.zeros(len(separator), dtype=np.int64))
    return torch.tensor(tokens, dtype=torch.long), torch.from_numpy(np.concatenate(starts))
