"""Tables as LaTeX with booktabs, ready for ``\\input``; best in bold, second best underlined."""

import re
import textwrap

from nmlab.reports.values import Cell, Column, Direction, Mark, ReportTable, Style, cell_text
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
    "÷": "$\\div$",
    "–": "--",
    "→": "$\\rightarrow$",
    "α": "$\\alpha$",
}
PATTERN = re.compile("|".join(re.escape(character) for character in SPECIAL))
SHORT_ID = 8
LONG_TITLE = 13  # characters; longer titles of numbers break into lines
ROWS_OF_A_FLOAT = 30


def latex_text(table: ReportTable) -> str:
    """Return one table: a float that LaTeX shrinks to the text width, or one that runs over pages.

    A table runs over pages where it has many rows or columns of prose, which break into lines to fill the text width.
    The preamble needs ``adjustbox``, ``booktabs`` and ``xltabular`` (which loads ``longtable`` and ``tabularx``).
    """
    if len(table.rows) > ROWS_OF_A_FLOAT or any(column.is_prose for column in table.columns):
        return _over_pages(table)
    return _float(table)


def escaped(text: str) -> str:
    """Return text with the special characters of LaTeX escaped."""
    return PATTERN.sub(lambda match: SPECIAL[match.group()], one_line(text))


def _breakable(text: str) -> str:
    """Return text that may break inside long names too, after ``.``, ``_`` and ``=``, but not inside a number."""
    return re.sub(r"(=|(?:\\_|\.)(?=[A-Za-z]))", r"\1\\allowbreak{}", escaped(text))


def _float(table: ReportTable) -> str:
    lines = [
        "\\begin{table}",
        "\\centering",
        "\\small",
        _caption(table),
        "\\medskip",
        "\\begin{adjustbox}{max width=\\linewidth}",  # shrunk where it is wider, never enlarged
        f"\\begin{{tabular}}{{{_places(table)}}}",
        *_lines(table),
        "\\end{tabular}",
        "\\end{adjustbox}",
        *_notes(table),
        "\\end{table}",
        "",
    ]
    return "\n".join(lines)


def _over_pages(table: ReportTable) -> str:
    has_prose = any(column.is_prose for column in table.columns)
    name, width = ("xltabular", "{\\linewidth}") if has_prose else ("longtable", "")
    top, head, rule, *rows, bottom = _lines(table)
    lines = [
        "\\begingroup\\scriptsize\\setlength{\\tabcolsep}{2pt}\\setlength{\\LTcapwidth}{\\linewidth}",
        f"\\begin{{{name}}}{width}{{{_places(table)}}}",
        _caption(table) + "\\\\",
        *(top, head, rule, "\\endfirsthead"),
        *(top, head, rule, "\\endhead"),
        *rows,
        bottom,
        f"\\end{{{name}}}",
        *_notes(table),
        "\\endgroup",
        "",
    ]
    return "\n".join(lines)


def _places(table: ReportTable) -> str:
    """Return the places of the columns: numbers flush right, prose as wide as there is room, other text flush left."""
    return "".join(_place(column) for column in table.columns)


def _place(column: Column) -> str:
    if column.is_numeric:
        return "r"
    return ">{\\raggedright\\arraybackslash}X" if column.is_prose else "l"


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
    stacked = "\\\\".join(lines)
    return stacked if len(lines) == 1 else f"\\shortstack[r]{{{stacked}}}"


def _title_lines(column: Column) -> list[str]:
    if not column.is_numeric:
        return [column.title]
    return textwrap.wrap(column.title, LONG_TITLE, break_long_words=False, break_on_hyphens=False) or [""]


def _cell(cell: Cell, column: Column) -> str:
    text = cell_text(cell, column=column)
    if column.style is Style.RUN:
        text = text[:SHORT_ID]
    if column.style in (Style.RUN, Style.CODE) and text:
        return f"\\texttt{{{escaped(text)}}}"
    return MARKS[cell.mark].format(_breakable(text) if column.is_prose else escaped(text))


def _caption(table: ReportTable) -> str:
    title = table.title if table.title.endswith("?") else f"{table.title}."
    return f"\\caption{{{escaped(title)} {escaped(table.caption)}}}\\label{{tab:{_label(table.key)}}}"


def _label(key: str) -> str:
    """Return a key without characters that are special inside a label."""
    return re.sub(r"[^\w.:-]", "-", key)


def _notes(table: ReportTable) -> list[str]:
    return [f"\\par\\smallskip\\footnotesize {escaped(note)}" for note in table.notes]
