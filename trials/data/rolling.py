"""Windows as lm-evaluation-harness makes them for rolling log-likelihoods, so that perplexities compare with its own.

Every document stands by itself. Its first token is predicted from the beginning-of-text token (end-of-text where there
is none), every other token once. A window gives the model at most L tokens; the last window of a long document reaches
back for context to fill up its L, and what it reaches back to is not predicted again. Words are counted as the
harness counts them: the pieces between runs of whitespace, so whitespace at either end of a document adds one.

Source: ``get_rolling_token_windows`` and ``count_words`` of lm-evaluation-harness 0.4, re-implemented.

Legend: W windows, L tokens that the model reads at once. A window holds L+1 tokens; after a short document comes
padding, which no predicted token can see.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError

_WORD = re.compile(r"\S+")


class Rolling(NamedTuple):
    """Tokens int64 [W, L+1], words that begin in each window's predicted part [W], which tokens count: bool [W, L].

    ``spans`` int64 [W, 3] say where the predicted part stands: the document, its first character and the one behind it.
    """

    tokens: Tensor
    words: Tensor
    predicted: Tensor
    spans: Tensor


def rolling_windows(documents: Sequence[str], *, tokenizer: PreTrainedTokenizerBase, length: int) -> Rolling:
    """Cut every document by itself; documents without a token give no window.

    Raises ``SourceError`` where the tokenizer has neither a beginning-of-text nor an end-of-text token.
    """
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if prefix is None:
        raise SourceError("rolling windows need a beginning-of-text or end-of-text token; use windowing: joined")
    parts = [
        _cut(*_encode(document, tokenizer, prefix), prefix=prefix, length=length, number=number)
        for number, document in enumerate(documents)
    ]
    return Rolling(*(torch.cat(column) for column in zip(*parts, strict=True)))


def word_starts(document: str, offsets: Sequence[tuple[int, int]] | np.ndarray) -> np.ndarray:
    """Count for each token the words that begin in it; a word belongs to the first token that reaches its first letter.

    Byte-level tokenizers give several tokens the same character span, so the token's end decides, not its beginning.
    """
    words = np.array([match.start() for match in _WORD.finditer(document)], dtype=np.int64)
    # A special token has an empty span at 0, wherever it stands.
    ends = np.maximum.accumulate(np.asarray(offsets, dtype=np.int64).reshape(-1, 2)[:, 1])
    owner = np.searchsorted(ends, words, side="right")
    return np.bincount(owner[owner < len(ends)], minlength=len(ends)).astype(np.int64)


def _encode(document: str, tokenizer: PreTrainedTokenizerBase, prefix: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the T tokens of a document, the words that begin in each, and their characters [T, 2], all int64."""
    if not tokenizer.is_fast:
        raise SourceError(f"tokenizer {type(tokenizer).__name__} is not a fast one; convert it with tokenizers first")
    add = not document.startswith(tokenizer.decode(prefix))  # a document that brings its own gets no second one
    encoded = tokenizer(document, add_special_tokens=add, return_offsets_mapping=True, verbose=False)
    offsets = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    words = word_starts(document, offsets)
    if len(words):
        words[0] += document[0].isspace()
        words[-1] += document[-1].isspace()
    return torch.tensor(encoded["input_ids"], dtype=torch.long), torch.from_numpy(words), torch.from_numpy(offsets)


def _cut(tokens_T: Tensor, words_T: Tensor, offsets_T2: Tensor, *, prefix: int, length: int, number: int) -> Rolling:
    """Cut one document of T tokens."""
    total = len(tokens_T)
    count = -(-total // length)
    stream = torch.cat([torch.tensor([prefix]), tokens_T, torch.full((max(0, length - total),), prefix)])
    # The last window of a long document ends with the document, so it begins before the window in front of it ends.
    starts_W = (torch.arange(count) * length).clamp(max=max(0, total - length))
    position_WL = starts_W[:, None] + torch.arange(length)
    fresh_W = torch.arange(count) * length
    predicted_WL = (position_WL >= fresh_W[:, None]) & (position_WL < total)
    padded = torch.cat([words_T, torch.zeros(max(0, length - total), dtype=torch.long)])
    words_W = (padded[position_WL] * predicted_WL).sum(1)
    spans = [(number, *character_span(offsets_T2[first : first + length].numpy())) for first in range(0, total, length)]
    spans_W3 = torch.tensor(spans, dtype=torch.long).reshape(-1, 3)
    return Rolling(stream[starts_W[:, None] + torch.arange(length + 1)], words_W, predicted_WL, spans_W3)


def character_span(offsets_T2: np.ndarray) -> tuple[int, int]:
    """Return the first character of some tokens of a document and that behind their last; (0, 0) for special tokens."""
    real = offsets_T2[offsets_T2[:, 1] > offsets_T2[:, 0]]
    return (int(real[:, 0].min()), int(real[:, 1].max())) if len(real) else (0, 0)
