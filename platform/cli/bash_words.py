"""Completion in bash, which takes ``search.mode=min`` for three words and replaces only the last of them."""

import io
import os
import re
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import redirect_stdout

_BREAKS = re.compile(r"[=:]+")
"""The characters of bash's ``COMP_WORDBREAKS`` that occur in values of ours."""
ASKS = ("_NMLAB_COMPLETE", "complete_bash")
"""The variable, and its value, by which Typer's script for bash asks for completions."""


def is_asked() -> bool:
    """Return whether bash asks this process for completions."""
    return os.environ.get(ASKS[0]) == ASKS[1]


def answer(app: Callable[[], object]) -> None:
    """Run an app that prints completions of whole words, and print the parts of them that bash replaces."""
    begun = join_words(os.environ)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            app()
    finally:
        for line in printed.getvalue().splitlines():
            print(line.removeprefix(begun))


def join_words(environ: MutableMapping[str, str]) -> str:
    """Join the words of ``COMP_WORDS`` that bash split at "=" and ":", and return what bash keeps of the current one.

    ``COMP_CWORD`` is set to the place of the joined word.
    """
    text = environ.get("COMP_WORDS", "")
    separator = "\n" if "\n" in text else " "
    words, current, begun = joined(text.split(separator), int(environ.get("COMP_CWORD", "0")))
    environ["COMP_WORDS"], environ["COMP_CWORD"] = separator.join(words), str(current)
    return begun


def joined(words: Sequence[str], current: int) -> tuple[list[str], int, str]:
    """Return the words as they were typed, the place of the current one, and its part before the last "=" or ":"."""
    found: list[str] = []
    place, begun = current, ""
    for number, word in enumerate(words):
        after_break = bool(found) and number > 0 and _BREAKS.fullmatch(words[number - 1]) is not None
        is_break = _BREAKS.fullmatch(word) is not None
        if len(found) > 1 and (is_break or (after_break and word and not word.startswith("--"))):
            kept = found[-1] + (word if is_break else "")
            found[-1] += word
        else:
            kept = ""
            found.append(word)
        if number == current:
            place, begun = len(found) - 1, kept
    return found, place, begun
