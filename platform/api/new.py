"""Write a study for a model and a text: what fits here, with ranges that worked at that size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmlab.platform.api.study import Study

if TYPE_CHECKING:
    from nmlab.platform.new_study.propose import NewStudy


@dataclass(frozen=True)
class Written:
    """A study that was proposed: what it is, where it was written, and what it takes here."""

    study: Study
    path: Path | None
    _proposed: "NewStudy" = field(repr=False)

    @property
    def lines(self) -> tuple[str, ...]:
        """What it takes, for a person."""
        found = self._proposed
        return (f"{self.path or found.study.name}: {found.trials}, about {_duration(found.seconds)} here, estimated",)

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        where = None if self.path is None else str(self.path)
        return {"study": self.study.name, "file": where, "seconds": round(self._proposed.seconds, 1)}


def new(
    name: str,
    *,
    model: str | Path,
    text: str | Path | Sequence[str | Path],
    pattern: str = "2:4",
    method: str = "maskpro",
    budget: str = "2h",
    column: str | None = None,
    leave_dense: Sequence[str] = (),
    output: str | Path | None = None,
) -> Study:
    """Propose a study for a model and a text, and write it with a reason for each number.

    Text is cut into three parts that do not overlap: to learn from, to choose configurations on, and to report. The
    study has three seeds, a confirmation on fresh seeds, and as many steps, configurations, replicas and sequences at
    once as fit this machine and the budget. Its ranges are those that worked at that number of groups.

    Args:
        name: of the study and of its MLflow experiment: lower-case letters and digits, joined by hyphens.
        model: ``builtin:tiny``, a Hugging Face folder, or a hub id.
        text: a file, a folder, a pattern or a hub id, which is cut into three; or two, of which the second is reported
            on; or three: to learn from, to choose on, to report.
        pattern: N:M keeps N of every M weights.
        method: ``"maskpro"``, ``"susi"`` or ``"soft_topn"``.
        budget: how long the launch may take, such as ``"2h"``.
        column: column that holds the text, of JSONL or a table.
        leave_dense: weights of decoder blocks to leave without a mask: parts of their names, or patterns with ``*``.
        output: the file to write, with comments; by default none is. A file that exists is never overwritten.

    Returns:
        The study; `plan` accepts it as it is.

    Raises:
        ValueError: a model or text that cannot be used, a text too short for three parts, a pattern that does not
            divide the layers, a budget too small, or a file that exists; the text says why in one line.

    Example:
        >>> import nmlab
        >>> given = {"model": "builtin:tiny", "text": "builtin:python-docs", "budget": "12h"}
        >>> study = nmlab.new("mine", **given, output="mine.yaml")
        >>> study.seeds, study.search.confirm.top, study == nmlab.load_study("mine.yaml")
        ((0, 1, 2), 3, True)
    """
    texts = (text,) if isinstance(text, str | Path) else tuple(text)
    return written(
        name,
        model=str(model),
        texts=tuple(map(str, texts)),
        settings={"pattern": pattern, "method": method, "budget": budget, "column": column},
        leave_dense=leave_dense,
        output=None if output is None else Path(output),
    ).study


def written(
    name: str,
    *,
    model: str,
    texts: tuple[str, ...],
    settings: dict[str, Any],
    leave_dense: Sequence[str],
    output: Path | None,
) -> Written:
    """Return a study as `new` does, with what it takes; ``settings`` are pattern, method, budget and column."""
    from nmlab.platform.new_study.request import NewStudyRequest

    request = NewStudyRequest(name, model, texts, leave_dense=tuple(leave_dense), **settings)
    request.check()
    if output is not None and output.exists():
        raise ValueError(f"{output} is there already; expected another file, or that you remove it")

    from nmlab.platform.new_study.propose import propose_study  # loads torch; the request is checked before

    found = propose_study(request)
    if output is not None:
        found.save(output)
    return Written(Study.of(found.study), output, found)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
