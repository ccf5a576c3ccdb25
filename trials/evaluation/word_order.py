"""`builtin:word-order`: questions that a very small model can answer, from a built-in text.

Every stretch of prose in the evaluation part of `builtin:python-docs` is one question: its first words are shown, and
of four choices one is the words that follow, the others are the same words in another order. Chance is 25 %. What it
takes is a little grammar, so that models of some ten thousand weights can be distinguished, which harder tasks cannot.
"""

import random
from collections.abc import Iterator

from nmlab.trials.contract.values import JsonObject
from nmlab.trials.data import python_docs

SHOWN, ORDERED = 16, 8  # words
CHOICES = 4
_SEED = 0


def word_order() -> list[JsonObject]:
    """Return the questions in the order of the text, each with ``question``, ``choices`` and ``label``."""
    dice = random.Random(_SEED)
    stretches = (stretch for document in python_docs.documents("evaluation") for stretch in _stretches(document))
    return [_question(words, dice=dice) for words in stretches]


def _stretches(document: str) -> Iterator[list[str]]:
    """Yield the words of each stretch of a document's paragraphs; code and tables are no prose."""
    for paragraph in document.split("\n\n"):
        words = paragraph.split()
        if ">>>" in words or not any(word.endswith((".", ",")) for word in words):
            continue
        for start in range(0, len(words) - SHOWN - ORDERED + 1, SHOWN + ORDERED):
            stretch = words[start : start + SHOWN + ORDERED]
            if len(set(stretch[SHOWN:])) > ORDERED // 2:  # of a few different words there are too few orders
                yield stretch


def _question(words: list[str], *, dice: random.Random) -> JsonObject:
    right = " ".join(words[SHOWN:])
    wrong: list[str] = []
    while len(wrong) < CHOICES - 1:
        shuffled = " ".join(dice.sample(words[SHOWN:], ORDERED))
        if shuffled not in (right, *wrong):
            wrong.append(shuffled)
    label = dice.randrange(CHOICES)
    return {"question": " ".join(words[:SHOWN]), "choices": [*wrong[:label], right, *wrong[label:]], "label": label}
