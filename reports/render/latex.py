"""Tables as LaTeX with booktabs, ready for ``\\input``; best in bold, second best underlined."""

import math
import re
import textwrap
from collections.abc import Sequence

from nmlab.reports.values import Cell, Column, Direction, Mark, ReportTable, Row, Style, cell_text
from nmlab.trials.contract.escaping import one_line

MARKS = {Mark.NONE: "{}", Mark.BEST: "\\textbf{{{}}}", Mark.TIED: "\\textbf{{{}}}", Mark.SECOND: "\\underline{{{}}}"}
ARROWS = {Direction.NONE: "", Direction.LOWER: " $\\downarrow$", Direction.HIGHER: " $\\uparrow$"}
SPECIAL = {
    "\\": "\\textbackslash{}",
    "&": "\\&",
    "%": "\\%",
    "$": "\\$",
    "#": "\\#",
    "_": "\\_",
    "{": "\\{",
    "}": "\\}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "−": "$-$",
    "±": "$\\pm$",
    "∞": "$\\infty$",
    "·": "$\\cdot$",
    "×": "$\\times$",
    "–": "--",
    "→": "$\\rightarrow$",
    "α": "$\\alpha$",
}
PATTERN = re.compile("|".join(re.escape(character) for character in SPECIAL))
SHORT_ID = 8
LONG_TEXT, LONG_TEXT_ON_PAGES = 30, 22  # characters; longer text breaks into lines
LONG_TITLE = 13
CHARACTERS_THAT_FIT = 88
CHARACTERS_OF_A_NOTE = 110
LINES_ON_A_PAGE = 40  # of A4 in landscape, the lower orientation


def latex_text(table: ReportTable) -> str:
    """Return one table: a float that fits the text width, or a ``longtable`` where it is longer than a page.

    The preamble needs ``array``, ``booktabs`` and ``graphicx``, and ``longtable`` for long ones.
    """
    if _is_long(table):
        return _long(table)
    body = "\n".join([_begin("tabular", table), *_lines(table), "\\end{tabular}"])
    if _is_wide(table):
        shrunk = "\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi"  # never enlarged
        body = f"\\resizebox{{{shrunk}}}{{!}}{{%\n{body}}}"
    opening = ["\\begin{table}", "\\centering", "\\small", _caption(table), "\\medskip"]
    return "\n".join([*opening, body, *_notes(table), "\\end{table}", ""])


def escaped(text: str) -> str:
    """Return text with the special characters of LaTeX escaped."""
    return PATTERN.sub(lambda match: SPECIAL[match.group()], one_line(text))


def _breakable(text: str) -> str:
    """Return text that may break inside long names too, after ``.``, ``_`` and ``=``, but not inside a number."""
    return re.sub(r"(=|(?:\\_|\.)(?=[A-Za-z]))", r"\1\\allowbreak{}", escaped(text))


def _long(table: ReportTable) -> str:
    top, head, rule, *rows, bottom = _lines(table)
    size = "tiny" if _is_wide(table) else "scriptsize"
    lines = [
        f"\\begingroup\\{size}\\setlength{{\\tabcolsep}}{{2pt}}",
        _begin("longtable", table),
        _caption(table) + "\\\\",
        *(top, head, rule, "\\endfirsthead"),
        *(top, head, rule, "\\endhead"),
        *rows,
        bottom,
        "\\end{longtable}",
        *_notes(table),
        "\\endgroup",
        "",
    ]
    return "\n".join(lines)


def _begin(name: str, table: ReportTable) -> str:
    widths = zip(table.columns, _widths(table), strict=True)
    places = "".join(_place(column, width, _limit(table)) for column, width in widths)
    return f"\\begin{{{name}}}{{{places}}}"


def _place(column: Column, width: int, limit: int) -> str:
    if column.is_numeric:
        return "r"
    return "l" if width < limit else f">{{\\raggedright\\arraybackslash}}p{{{width / 2:g}em}}"


def _is_long(table: ReportTable) -> bool:
    """Return whether a table is higher than a page and so does not fit a float; notes and multi-line rows count."""
    notes = sum(_height(len(note), CHARACTERS_OF_A_NOTE) for note in table.notes)
    return notes + sum(_height(_longest(row, table.columns), LONG_TEXT) for row in table.rows) > LINES_ON_A_PAGE


def _longest(row: Row, columns: Sequence[Column]) -> int:
    """Return the characters of the longest text of a row that breaks into lines."""
    texts = [
        cell_text(cell, column=column)
        for cell, column in zip(row.cells, columns, strict=True)
        if not column.is_numeric and column.style is not Style.RUN
    ]
    return max(map(len, texts), default=0)


def _height(characters: int, width: int) -> int:
    return max(1, math.ceil(characters / width))


def _limit(table: ReportTable) -> int:
    return LONG_TEXT_ON_PAGES if _is_long(table) else LONG_TEXT


def _is_wide(table: ReportTable) -> bool:
    widths = _widths(table)
    return sum(widths) + 2 * len(widths) > CHARACTERS_THAT_FIT


def _widths(table: ReportTable) -> list[int]:
    """Return the characters that each column takes, text that breaks into lines counted as one of them."""
    widths = []
    for column in table.columns:
        texts = [cell_text(cell, column=column) for cell in table.column(column.key)]
        widest = max([len(line) for line in _title_lines(column)] + [len(text) for text in texts])
        short = SHORT_ID if column.style is Style.RUN else widest
        widths.append(short if column.is_numeric else min(short, _limit(table)))
    return widths


def _lines(table: ReportTable) -> list[str]:
    head = " & ".join(_title(column) for column in table.columns)
    rows = [
        _after_break(" & ".join(_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)))
        + " \\\\"
        for row in table.rows
    ]
    return ["\\toprule", f"{head} \\\\", "\\midrule", *rows, "\\bottomrule"]


def _after_break(text: str) -> str:
    """Return the text after the end of a row, protected from being read as its argument (a bracket or a star)."""
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def _title(column: Column) -> str:
    """Return a column's title, in several lines where it is long, with the arrow of its direction."""
    lines = [_after_break(escaped(line)) for line in _title_lines(column)]
    lines[-1] += ARROWS[column.direction]
    side, stacked = "r" if column.is_numeric else "l", "\\\\".join(lines)
    return lines[0] if len(lines) == 1 else f"\\shortstack[{side}]{{{stacked}}}"


def _title_lines(column: Column) -> list[str]:
    width = LONG_TITLE if column.is_numeric else LONG_TEXT_ON_PAGES
    return textwrap.wrap(column.title, width, break_long_words=False, break_on_hyphens=False) or [""]


def _cell(cell: Cell, column: Column) -> str:
    text = cell_text(cell, column=column)
    if column.style is Style.RUN:
        text = text[:SHORT_ID]
    if column.style in (Style.RUN, Style.CODE) and text:
        return f"\\texttt{{{escaped(text)}}}"
    return MARKS[cell.mark].format(_breakable(text) if len(text) > LONG_TEXT_ON_PAGES else escaped(text))


def _caption(table: ReportTable) -> str:
    title = table.title if table.title.endswith("?") else f"{table.title}."
    return f"\\caption{{{escaped(title)} {escaped(table.caption)}}}\\label{{tab:{_label(table.key)}}}"


def _label(key: str) -> str:
    """Return a key without characters that are special inside a label."""
    return re.sub(r"[^\w.:-]", "-", key)


def _notes(table: ReportTable) -> list[str]:
    return [f"\\par\\smallskip\\footnotesize {escaped(note)}" for note in table.notes]
