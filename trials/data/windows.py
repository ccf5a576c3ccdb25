"""Cut documents into fixed windows of tokens.

Legend: W windows, L predicted tokens of a window. A window holds L+1 tokens, the first of which is context only, and
consecutive windows overlap by that one token: every token of the text but the first is predicted exactly once. Held-out
text can also be cut document by document (`rolling`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import Windowing
from nmlab.trials.data.rolling import character_span, rolling_windows, word_starts
from nmlab.trials.data.sources import TextSource, documents_digest, read_documents


@dataclass(frozen=True, eq=False)
class Windows:
    """Tokens int64 [W, L+1], the number of words that begin in each window's predicted part [W], and a digest.

    ``predicted`` is boolean [W, L] and says which tokens after the first count; None means all of them. ``passages`` is
    the text of each window's predicted part, a passage for each document it reaches into, where it was asked for.
    """

    tokens: Tensor
    words: Tensor
    digest: str
    predicted: Tensor | None = None
    passages: tuple[tuple[str, ...], ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)


def evaluation_windows(
    text: TextSource,
    *,
    tokenizer: PreTrainedTokenizerBase,
    sequence_length: int,
    limit: int | None = None,
    windowing: Windowing = "joined",
    passages: bool = False,
) -> Windows:
    """Return the windows of a text from its beginning, at most ``limit`` of them.

    ``joined`` cuts all documents, joined by the end-of-text token, into equal windows and leaves a last partial one
    out; ``rolling`` cuts every document by itself, as lm-evaluation-harness does (see ``rolling_windows``). With
    ``passages`` the windows carry their text. Raises ``SourceError`` when the text is shorter than one window.
    """
    documents = read_documents(text)
    cut = _rolling if windowing == "rolling" else _joined
    windows = cut(documents, tokenizer=tokenizer, length=sequence_length, limit=limit, passages=passages)
    if not len(windows):
        raise SourceError(f"data {text.source!r} is shorter than one window of {sequence_length} tokens")
    return windows


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
    every = _joined(read_documents(text), tokenizer=tokenizer, length=sequence_length - 1)
    if len(every) < samples:
        raise SourceError(
            f"data {text.source!r} gives {len(every)} windows of {sequence_length} tokens, "
            f"{samples} samples were asked; lower samples or sequence_length, or give more text"
        )
    return list(torch.split(every.tokens[_permuted(len(every), seed)[:samples]], batch_size))


def mixture_batches(
    texts: Sequence[tuple[TextSource, int]],
    *,
    tokenizer: PreTrainedTokenizerBase,
    sequence_length: int,
    batch_size: int,
    seed: int,
) -> list[Tensor]:
    """Return windows of several texts, drawn without replacement and shuffled together, as fixed minibatches.

    Each text is drawn from with random numbers of its own, keyed by its place, so that another weight of one text
    changes only how many windows of the others are taken.

    Args:
        texts: the texts, each with its number of windows.
        tokenizer: of the model.
        sequence_length: tokens of a window.
        batch_size: windows of a minibatch.
        seed: of the choice and of the order.

    Raises:
        SourceError: a text that has fewer windows.
    """
    drawn, total = [], sum(count for _, count in texts)
    for place, (text, count) in enumerate(texts):
        every = _joined(read_documents(text), tokenizer=tokenizer, length=sequence_length - 1)
        if len(every) < count:
            raise SourceError(
                f"data {text.source!r} gives {len(every)} windows of {sequence_length} tokens, {count} of the {total} "
                "samples were asked of it; lower samples, sequence_length or its weight, or give more text"
            )
        drawn.append(every.tokens[_permuted(len(every), _seed_of(place, seed))[:count]])
    return list(torch.split(torch.cat(drawn)[_permuted(total, seed)], batch_size))


def _seed_of(place: int, seed: int) -> int:
    """Return the seed of one text of a mixture: 32 bits, which is all that torch's CPU generator keeps of a seed."""
    return int.from_bytes(hashlib.blake2b(f"calibration mixture {seed} {place}".encode(), digest_size=4).digest())


def _permuted(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _joined(
    documents: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    limit: int | None = None,
    passages: bool = False,
) -> Windows:
    stream = _encode(documents, tokenizer)
    count = max(0, (len(stream.tokens) - 1) // length)
    index_WL = torch.arange(count)[:, None] * length + torch.arange(length + 1)
    words = stream.starts[1 : count * length + 1].view(count, length).sum(1)
    windows = Windows(stream.tokens[index_WL][:limit], words[:limit], documents_digest(list(documents)))
    if not passages:
        return windows
    parts = (stream.places_T3[w * length + 1 : (w + 1) * length + 1] for w in range(len(windows)))
    return replace(windows, passages=tuple(_passages(documents, part) for part in parts))


def _rolling(
    documents: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    limit: int | None = None,
    passages: bool = False,
) -> Windows:
    found = rolling_windows(documents, tokenizer=tokenizer, length=length)
    texts = tuple((documents[number][start:stop],) for number, start, stop in found.spans[:limit].tolist())
    return Windows(
        found.tokens[:limit],
        found.words[:limit],
        documents_digest(list(documents)),
        found.predicted[:limit],
        texts if passages else None,
    )


class _Stream(NamedTuple):
    """All T tokens of joined documents, the words that begin in each, and (document, from, to) of its characters.

    The document of a separator is -1.
    """

    tokens: Tensor
    starts: Tensor
    places_T3: np.ndarray


def _encode(documents: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> _Stream:
    """Return the tokens of all documents joined by the end-of-text token."""
    if not tokenizer.is_fast:
        raise SourceError(f"tokenizer {type(tokenizer).__name__} is not a fast one; convert it with tokenizers first")
    separator = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens: list[int] = []
    starts: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for number, document in enumerate(documents):
        encoded = tokenizer(document, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        tokens += encoded["input_ids"] + separator
        starts += [word_starts(document, offsets), np.zeros(len(separator), dtype=np.int64)]
        places.append(np.insert(offsets, 0, number, axis=1))
        places.append(np.full((len(separator), 3), -1, dtype=np.int64))
    return _Stream(
        torch.tensor(tokens, dtype=torch.long), torch.from_numpy(np.concatenate(starts)), np.concatenate(places)
    )


def _passages(documents: Sequence[str], places_L3: np.ndarray) -> tuple[str, ...]:
    """Return the text of a window's tokens, a part for each document."""
    numbers = dict.fromkeys(places_L3[:, 0].tolist())
    spans = ((number, character_span(places_L3[places_L3[:, 0] == number, 1:])) for number in numbers if number >= 0)
    return tuple(documents[number][start:stop] for number, (start, stop) in spans)
