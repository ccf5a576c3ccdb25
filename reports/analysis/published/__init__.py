"""The numbers that the two papers print, as data: MaskPro and SUSI, every table, tidy and as printed.

One row for each printed cell: ``paper table model pattern method setting metric unit value printed flags``. Names of
methods and settings are those that users of nmlab type; ``setting`` is ``name=value`` pairs separated by spaces.
``value`` is NaN where the paper prints a dash, and text that is no number (a version) stands in ``printed`` only.
Nothing is corrected: contradictions are named in ``flags`` and explained by :func:`remarks`. Captions are read without
pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from nmlab.reports.read.errors import ReportError
from nmlab.trials.contract.near_names import unknown_name

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent
PAPERS = ("maskpro", "susi")


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
def published_numbers() -> pd.DataFrame:
    """Return every printed cell of both papers, in the order of print, ``table`` in full (``susi/table-2``)."""
    import pandas as pd

    parts = [pd.read_csv(FOLDER / f"{paper}.csv", dtype=str, keep_default_na=False) for paper in PAPERS]
    rows = pd.concat(parts, ignore_index=True)
    rows["table"] = rows["paper"] + "/" + rows["table"]
    rows["value"] = [float(text) if text else float("nan") for text in rows["value"]]
    return rows


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


def numbers_of(table: str) -> pd.DataFrame:
    """Return the printed cells of one table.

    Raises:
        ReportError: no table of that name; figures have no numbers in print.
    """
    if table not in published_tables():
        raise ReportError(unknown_name(table, kind="published table", known=published_tables()))
    rows = published_numbers()
    return rows[rows["table"] == table].reset_index(drop=True)


def settings_of(text: str) -> dict[str, str]:
    """Return ``alpha=0.99 steps=100`` as a mapping of texts."""
    pairs = (part.partition("=") for part in text.split())
    return {name: value for name, _, value in pairs}
