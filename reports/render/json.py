"""The report as JSON for programs: every value at full precision and as printed on pages."""

import json
import math

from nmlab.reports.render.document import Document
from nmlab.reports.values import Cell, Column, ReportTable, cell_text, title_text
from nmlab.trials.contract.escaping import json_escaped


def json_text(document: Document) -> str:
    """Return the whole report without its drawings; the same store gives the same bytes.

    A value that is not finite is written as the string that pages print, since JSON knows no infinity.
    """
    value = {
        "study": document.study,
        "facts": dict(document.facts),
        **_screen_value(document),
        "headline": list(document.headline),
        "warnings": list(document.warnings),
        "winners": [dict(winner) for winner in document.winners],
        "commands": [{"command": command.line, "does": command.does} for command in document.commands],
        "tables": [table_value(table) for table in document.tables],
        "figures": [
            {
                "key": figure.key,
                "title": figure.title,
                "caption": figure.caption,
                "alternative": figure.alternative,
            }
            for figure in document.figures
            if not figure.skipped
        ],
        "figures_without_data": {figure.title: figure.skipped for figure in document.figures if figure.skipped},
        "provenance": {section.title: dict(section.facts) for section in document.provenance},
    }
    return _encoded(value)


def _screen_value(document: Document) -> dict[str, object]:
    """Return the first screen: title and question of the study, the verdict, the tiles, and what to know."""
    screen = document.screen
    if screen is None:
        return {}
    return {
        "title": document.title,
        "question": document.question,
        "verdict": screen.verdict,
        "verdict_findings": [*screen.findings, *([screen.claims] if screen.claims else [])],
        "tiles": table_value(screen.tiles),
        "before_you_trust_this": list(screen.trust),
    }


def table_json(table: ReportTable) -> str:
    """Return one table as JSON."""
    return _encoded(table_value(table))


def table_value(table: ReportTable) -> dict[str, object]:
    """Return one table as plain values: columns, rows of cells by column, notes."""
    return {
        "key": table.key,
        "title": table.title,
        "caption": table.caption,
        "columns": [
            {"key": column.key, "title": title_text(column), "help": column.help, "better": str(column.direction)}
            for column in table.columns
        ],
        "rows": [
            {
                "cells": {
                    column.key: _cell_value(cell, column) for column, cell in zip(table.columns, row.cells, strict=True)
                },
                "runs": list(row.run_ids),
            }
            for row in table.rows
        ],
        "notes": list(table.notes),
    }


def _encoded(value: object) -> str:
    return json_escaped(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _cell_value(cell: Cell, column: Column) -> dict[str, object]:
    known = {
        "value": _finite(cell.value),
        "shown": cell_text(cell, column=column),
        "low": _finite(cell.low),
        "high": _finite(cell.high),
        "n": cell.n,
        "mark": str(cell.mark),
    }
    return {name: value for name, value in known.items() if name in ("value", "shown") or value not in (None, "")}


def _finite(value: float | int | str | None) -> float | int | str | None:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
