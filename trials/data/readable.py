"""Check that a model can read a text before anything is started; errors name the file and the row."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data.sources import TextSource, read_documents

_AT_ONCE = 256
"""Documents that are encoded at once; a list of tokens takes ten times the memory of its text."""


def check_readable(text: TextSource, *, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raise ``SourceError`` with file and row for text that the tokenizer or the model cannot read.

    That is: an error of the tokenizer, a document without a token, a token beyond the ``rows`` of the model's
    embedding, or a text of which half the tokens are unknown ones. Tokens that are put between documents count too.
    """
    for name in ("eos_token", "bos_token"):
        own = getattr(tokenizer, f"{name}_id")
        if isinstance(own, int) and own >= rows:
            raise SourceError(f"the tokenizer's {name} {_beyond(own, tokenizer, rows)}")
    documents, total, unknown, first = read_documents(text), 0, 0, None
    for number, tokens in enumerate(_encoded(documents, text, tokenizer)):
        if problem := _problem(documents[number], tokens=tokens, tokenizer=tokenizer, rows=rows):
            raise SourceError(f"data {place_of(documents[number], number, text)}: {problem}")
        own = 0 if tokenizer.unk_token_id is None else tokens.count(tokenizer.unk_token_id)
        total, unknown, first = total + len(tokens), unknown + own, number if own and first is None else first
    if first is not None and 2 * unknown >= total:
        where = place_of(documents[first], first, text)
        raise SourceError(
            f"data {text.source!r}: the tokenizer does not know {unknown} of its {total} tokens "
            f"({tokenizer.unk_token!r}), the first in {where}; give the tokenizer of the model, or other text"
        )


def place_of(document: str, number: int, text: TextSource) -> str:
    """Return where a document, the ``number``-th of a source from 0, lies: its file and line where it can be found."""
    path = Path(text.source.partition("[")[0]).expanduser()
    if path.exists():
        for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
            line = _line_of(document, file)
            if line:
                return f"{str(file)!r} line {line}"
    return f"{text.source!r} row {number + 1}"


def _encoded(documents: Sequence[str], text: TextSource, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """Yield the tokens of every document; all in one call where possible, which is several times as fast."""
    for start in range(0, len(documents), _AT_ONCE):
        some = list(documents[start : start + _AT_ONCE])
        try:
            tokens = _tokens(some, tokenizer)
        except _Refused:
            tokens = [
                _own_tokens(document, number=start + index, text=text, tokenizer=tokenizer)
                for index, document in enumerate(some)
            ]
        yield from tokens


class _Refused(Exception):  # noqa: N818 (says why a text is none of the tokenizer's)
    """The tokenizer raised; its errors have unrelated types, of which some are no ``Exception``."""


def _tokens(documents: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    try:
        found: list[list[int]] = tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]
        return found
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise _Refused((str(error).strip() or type(error).__name__).splitlines()[0]) from error


def _own_tokens(document: str, *, number: int, text: TextSource, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    try:
        return _tokens([document], tokenizer)[0]
    except _Refused as error:
        where = place_of(document, number, text)
        raise SourceError(f"data {where}: the tokenizer cannot read it ({error})") from error


def _problem(document: str, *, tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase, rows: int) -> str:
    if not tokens:
        return "the tokenizer makes no token of it" if document.strip() else ""
    worst = max(tokens)
    return _beyond(worst, tokenizer, rows) if worst >= rows else ""


def _beyond(token: int, tokenizer: PreTrainedTokenizerBase, rows: int) -> str:
    shown = tokenizer.convert_ids_to_tokens(token)
    return (
        f"token {shown!r} has the id {token}, but the model's embedding has {rows} rows (ids 0 to {rows - 1}); give "
        "the tokenizer that belongs to the model"
    )


def _line_of(document: str, file: Path) -> int | None:
    """Return the line of a file in which a document begins, by its text; of JSON lines that of its record."""
    content = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(content.split("\n"), start=1):
        if line.startswith("{") and any(document in value for value in _texts(line)):
            return number
    start = content.find(document)
    return content.count("\n", 0, start) + 1 if start >= 0 else None


def _texts(line: str) -> list[str]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return [value for value in record.values() if isinstance(value, str)] if isinstance(record, dict) else []
