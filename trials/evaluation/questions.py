"""Multiple-choice questions in a local JSON-lines file, or built in, as a task of lm-evaluation-harness.

A line is ``{"question": ..., "choices": [...], "label": ...}``, the label counting from 0. Each choice is scored by the
log-likelihood that the model gives it. The style, written after the file's name and a colon, says how:

* ``cloze`` (the default): the choice after the question and a space, as in the harness's `openbookqa`;
* ``qa``: after ``Question: ...``, a new line and ``Answer:``, as in its `arc_easy` and `piqa`;
* ``blank``: the choice stands for the ``_`` in the question, and what follows is scored, as in its `winogrande`.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.near_files import file_hint
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.data.text_values import check_encodable, read_text
from nmlab.trials.evaluation.word_order import word_order

STYLES = ("cloze", "qa", "blank")
_SUFFIXES = (".jsonl", ".ndjson")

Row = JsonObject


@dataclass(frozen=True)
class LocalTask(ABC):
    """A task whose questions need no network."""

    name: str
    style: str

    @abstractmethod
    def rows(self) -> list[Row]:
        """Return the questions; raises ``SourceError`` where they cannot be read."""

    def configuration(self) -> JsonObject:
        """Return the task as a configuration of the harness."""
        return {
            "task": self.name,
            "custom_dataset": lambda **_: {"test": self._dataset()},
            "test_split": "test",
            "output_type": "multiple_choice",
            **_PROMPTS[self.style],
            "metric_list": [{"metric": name} for name in ("acc", "acc_norm")],
            "metadata": {"version": f"{self.style}-1"},
        }

    def _dataset(self) -> object:
        from datasets import Dataset

        return Dataset.from_list(self.rows())


@dataclass(frozen=True)
class FileTask(LocalTask):
    """A file of questions; the task's name is the file's, without the suffix."""

    path: Path

    def rows(self) -> list[Row]:
        """Read the questions; raises ``SourceError`` naming the first line that is not one."""
        lines = read_text(self.path, kind="task file").split("\n")
        rows = [self._row(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
        if not rows:
            raise SourceError(f"task file {str(self.path)!r} holds no question")
        return rows

    def _row(self, line: str, number: int) -> Row:
        where = f"task file {str(self.path)!r} line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SourceError(f"{where} is not JSON: {error.msg}") from error
        except (RecursionError, ValueError) as error:
            what = "is nested too deeply to be read" if isinstance(error, RecursionError) else "holds too long a number"
            raise SourceError(f"{where} {what}") from error
        if problem := _problem(row, style=self.style):
            raise SourceError(f"{where}: {problem}")
        for text in (row["question"], *row["choices"]):
            check_encodable(text, where=where)
        return {name: row[name] for name in ("question", "choices", "label")}


class WordOrderTask(LocalTask):
    """The built-in questions; see ``word_order``."""

    def rows(self) -> list[Row]:
        return word_order()


BUILTIN = {"builtin:word-order": WordOrderTask("word-order", "cloze")}


def local_task(reference: str) -> LocalTask | None:
    """Return the local task that ``quiz.jsonl``, ``quiz.jsonl:qa`` or ``builtin:word-order`` means; None for others.

    Raises ``SourceError`` for a file that is missing, for an unknown style and for another ``builtin:`` name.
    """
    if reference.startswith("builtin:"):
        if reference not in BUILTIN:
            raise SourceError(unknown_name(reference, kind="task", known=list(BUILTIN)))
        return BUILTIN[reference]
    name, colon, style = reference.rpartition(":") if Path(reference).suffix not in _SUFFIXES else (reference, "", "")
    if Path(name).suffix not in _SUFFIXES:
        return None
    if colon and style not in STYLES:
        raise SourceError(unknown_name(style, kind=f"style of {name}", known=STYLES))
    path = Path(name).expanduser()
    if not path.is_file():
        raise SourceError(f"task file {name!r} does not exist{file_hint(path, suffixes=_SUFFIXES)}")
    return FileTask(path.stem, style or "cloze", path)


def _problem(row: object, *, style: str) -> str:
    """Return why a parsed line is not a valid question, "" if it is; a value is shown in a few words, however deep."""
    if not isinstance(row, dict) or not {"question", "choices", "label"} <= row.keys():
        return 'expected {"question": ..., "choices": [...], "label": ...}'
    choices, label = row["choices"], row["label"]
    if not isinstance(row["question"], str):
        return f"question {short(row['question'])} is not a text"
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        return f"choices {short(choices)}: expected two or more texts that are not empty"
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(choices):
        return f"label {short(label)}: expected a number from 0 to {len(choices) - 1}"
    if style == "blank" and not _after_blank(row):
        return "expected a question with a blank, _, and words after it"
    return ""


def _after_blank(row: Row) -> str:
    return str(row["question"]).partition("_")[2].strip()


def _filled(row: Row) -> list[str]:
    return [row["question"].partition("_")[0] + choice for choice in row["choices"]]


# In `blank` the contexts differ and the continuation does not: the harness then wants the label from doc_to_text.
_PROMPTS: dict[str, JsonObject] = {
    "cloze": {"doc_to_text": "question", "doc_to_choice": "choices", "doc_to_target": "label"},
    "qa": {
        "doc_to_text": lambda row: f"Question: {row['question']}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
    },
    "blank": {"doc_to_text": lambda row: row["label"], "doc_to_choice": _filled, "doc_to_target": _after_blank},
}
