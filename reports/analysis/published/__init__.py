"""The numbers that the two papers print, as data: MaskPro and SUSI, every table, tidy and as printed.

Names of methods and settings are those that users of nmlab type. Nothing is corrected: contradictions are named
in ``flags`` and explained by :func:`remarks`.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from nmlab.reports.read.errors import ReportError
from nmlab.trials.contract.near_names import unknown_name

FOLDER = Path(__file__).parent
PAPERS = ("maskpro", "susi")


@dataclass(frozen=True, slots=True)
class PrintedNumber:
    """One printed cell of a table.

    Attributes:
        table: its full name, such as ``susi/table-2``.
        setting: ``name=value`` pairs, separated by spaces; see :func:`settings_of`.
        value: NaN where the paper prints a dash, or text that is no number (a version).
        printed: the text in print.
        flags: the remarks on it.
    """

    paper: str
    table: str
    model: str
    pattern: str
    method: str
    setting: str
    metric: str
    unit: str
    value: float
    printed: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A published table: its name as studies write it, a caption, its cells and how many of them hold a number."""

    table: str
    caption: str
    cells: int
    numbers: int


@dataclass(frozen=True, slots=True)
class Remark:
    """A problem of a published number; ``kind`` is contradiction, ambiguity or caution."""

    id: str
    kind: str
    paper: str
    where: str
    says: str


@cache
def published_numbers() -> tuple[PrintedNumber, ...]:
    """Return every printed cell of both papers, in the order of print."""
    return tuple(number for paper in PAPERS for number in _read(FOLDER / f"{paper}.csv"))


@cache
def published_tables() -> Mapping[str, PublishedTable]:
    """Return every published table by name."""
    records = yaml.safe_load((FOLDER / "tables.yaml").read_text(encoding="utf-8"))
    return {record["table"]: PublishedTable(**record) for record in records}


@cache
def remarks() -> Mapping[str, Remark]:
    """Return the remarks that ``flags`` refers to, by name."""
    records = yaml.safe_load((FOLDER / "contradictions.yaml").read_text(encoding="utf-8"))
    return {record["id"]: Remark(**record) for record in records}


def numbers_of(table: str) -> tuple[PrintedNumber, ...]:
    """Return the printed cells of one table.

    Raises:
        ReportError: no table of that name; figures have no numbers in print.
    """
    if table not in published_tables():
        raise ReportError(unknown_name(table, kind="published table", known=published_tables()))
    return tuple(number for number in published_numbers() if number.table == table)


def settings_of(text: str) -> dict[str, str]:
    """Return ``alpha=0.99 steps=100`` as a mapping of texts."""
    pairs = (part.partition("=") for part in text.split())
    return {name: value for name, _, value in pairs}


def _read(path: Path) -> list[PrintedNumber]:
    with path.open(encoding="utf-8", newline="") as file:
        return [_number(record) for record in csv.DictReader(file)]


def _number(record: Mapping[str, str]) -> PrintedNumber:
    return PrintedNumber(
        paper=record["paper"],
        table=f"{record['paper']}/{record['table']}",
        model=record["model"],
        pattern=record["pattern"],
        method=record["method"],
        setting=record["setting"],
        metric=record["metric"],
        unit=record["unit"],
        value=float(record["value"]) if record["value"] else math.nan,
        printed=record["printed"],
        flags=tuple(record["flags"].split()),
    )
