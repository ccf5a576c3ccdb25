"""Can a model read a text? Found out before anything starts, with the file and the row where it cannot."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from nmlab.trials.data.sources import TextSource, read_documents
from nmlab.trials.errors import SourceError


def check_readable(text: TextSource, *, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raise ``SourceError`` with file and row for text of which the tokenizer makes nothing that a model can read.

    That is: an error of the tokenizer, no token or unknown ones only, or a token beyond the ``rows`` of the model's
    embedding. Of the tokens that are put between documents the same is asked.
    """
    for name in ("eos_token", "bos_token"):
        own = getattr(tokenizer, f"{name}_id")
        if isinstance(own, int) and own >= rows:
            raise SourceError(f"the tokenizer's {name} {_beyond(own, tokenizer, rows)}")
    documents = read_documents(text)
    for number, tokens in enumerate(_encoded(documents, text, tokenizer)):
        document = documents[number]
        if problem := _problem(document, tokens, tokenizer, rows):
            raise SourceError(f"data {place_of(document, number, text)}: {problem}")


def place_of(document: str, number: int, text: TextSource) -> str:
    """Return where a document, the ``number``-th of a source from 0, lies: its file and line where that can be told."""
    path = Path(text.source.partition("[")[0]).expanduser()
    if path.exists():
        for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
            line = _line_of(document, file)
            if line:
                return f"{str(file)!r} line {line}"
    return f"{text.source!r} row {number + 1}"


def _encoded(documents: Sequence[str], text: TextSource, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """Yield the tokens of every document; at once where that goes, for it is several times as fast."""
    try:
        yield from tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]
        return
    except BaseException as error:  # the tokenizers' own, of which some are no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | SourceError):
            raise
    for number, document in enumerate(documents):
        try:
            yield tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            where = place_of(document, number, text)
            raise SourceError(f"data {where}: the tokenizer cannot read it ({reason})") from error


def _problem(document: str, tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase, rows: int) -> str:
    if not tokens:
        return "the tokenizer makes no token of it" if document.strip() else ""
    if set(tokens) == {tokenizer.unk_token_id}:
        return f"the tokenizer knows none of it: every token is {tokenizer.unk_token!r}"
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
