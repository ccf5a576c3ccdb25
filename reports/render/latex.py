"""Tables as LaTeX with booktabs, ready for ``\\input``; best in bold, second best underlined."""

import re
import textwrap
from dataclasses import dataclass, replace

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
    "≤": "$\\le$",
    "α": "$\\alpha$",
}
PATTERN = re.compile("|".join(re.escape(character) for character in SPECIAL))
SHORT_ID = 8
LONG_TITLE = 13  # characters; longer titles of numbers break into lines
ROWS_OF_A_FLOAT = 30
SUMMARY, COLUMN_KEYS = "summary", ("fresh", "seeds")
"""The table that stands in a column of a paper, and what it keeps there beside names and the reported metric."""
COLUMN_POINTS, NAME_POINTS, DIGIT_POINTS, GAP_POINTS = 234.0, 60.0, 4.8, 8.0
"""Widths at 10 pt: a column of a two-column paper, the least for names, a digit, and what parts two columns."""
LEAST_SHARE, LONG_CELL, GAP_OVER_PAGES = 0.1, 24, 4.0
"""Of tables over pages: the least share of the width for a long text, what counts as one, and what parts columns."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A way to set a table over pages: its type, the points of a character of it, and the width of the text."""

    size: str
    character: float
    width: float
    is_landscape: bool = False


PAGES = (
    _Page("\\scriptsize", 4.05, 345.0),
    _Page("\\scriptsize", 4.05, 550.0, is_landscape=True),
    _Page("\\tiny", 3.5, 550.0, is_landscape=True),
)
"""What is tried, in this order; widths are those of LaTeX's own article class on A4 and on letter paper."""


def latex_files(table: ReportTable) -> dict[str, str]:
    """Return the LaTeX files of a table by name: one, and for the summary a second with all of its columns.

    ``summary.tex`` fits a column of a paper at normal size. All others are for appendices.
    """
    if table.key != SUMMARY:
        return {f"{table.key}.tex": latex_text(table)}
    long = replace(table, key=f"{SUMMARY}_long")  # a label of its own
    return {f"{SUMMARY}.tex": column_text(table), f"{long.key}.tex": latex_text(long)}


def latex_text(table: ReportTable) -> str:
    """Return one table: a float that LaTeX shrinks to the text width, or one that runs over pages.

    A table runs over pages where it has many rows or columns of prose, which break into lines to fill the text width;
    one that is wider than the text stands across the page.
    The preamble needs ``array``, ``booktabs``, ``graphicx``, ``longtable`` and ``lscape``.
    """
    if len(table.rows) > ROWS_OF_A_FLOAT or any(column.is_prose for column in table.columns):
        return _over_pages(table)
    return _float(table)


def column_text(table: ReportTable) -> str:
    """Return a table of names and numbers that fits one column of a paper at normal size, without hashes.

    Metrics follow as far as they fit. Settings stand below, since they would fill the column. The preamble needs
    ``array``, ``booktabs`` and ``tabularx``.
    """
    kept = _fitting(table)
    rows = tuple(replace(row, cells=tuple(row.cells[place] for place in kept)) for row in table.rows)
    narrow = replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows)
    places = "".join("r" if column.is_numeric else "l" for column in narrow.columns[1:])
    lines = [
        "\\begin{table}",
        "\\centering",
        _caption(narrow),
        "\\medskip",
        "\\setlength{\\tabcolsep}{4pt}",
        f"\\begin{{tabularx}}{{\\linewidth}}{{@{{}}>{{\\raggedright\\arraybackslash}}X{places}@{{}}}}",
        *_lines(narrow),
        "\\end{tabularx}",
        *_notes(replace(narrow, notes=(*_settings_below(table), *narrow.notes))),
        "\\end{table}",
        "",
    ]
    return "\n".join(lines)


def _fitting(table: ReportTable) -> list[int]:
    """Return the columns that fit a column of a paper, in order: the first, the reported metric, then what has room."""
    columns = table.columns
    metrics = [place for place, column in enumerate(columns) if column.direction is not Direction.NONE]
    wanted = [*metrics[:1], *(at for key in COLUMN_KEYS for at, own in enumerate(columns) if own.key == key)]
    wanted += [place for place, column in enumerate(columns) if column.key == "pattern"]
    wanted += metrics[1:]
    room, kept = COLUMN_POINTS - NAME_POINTS, [0]
    for place in dict.fromkeys(wanted):
        texts = [cell_text(row.cells[place], column=columns[place]) for row in table.rows]
        needed = DIGIT_POINTS * max(map(len, [*texts, *_title_lines(columns[place])])) + GAP_POINTS
        if needed <= room:
            room -= needed
            kept.append(place)
    return sorted(kept)


def _settings_below(table: ReportTable) -> list[str]:
    """Return the settings of the rows that have some, each with the name of its row."""
    names = [column.key for column in table.columns]
    if "setting" not in names:
        return []
    cells = [(row.cells[0], row.cells[names.index("setting")]) for row in table.rows]
    return [f"{name.value}: {setting.value}." for name, setting in cells if setting.value]


def escaped(text: str) -> str:
    """Return text with the special characters of LaTeX escaped."""
    return PATTERN.sub(lambda match: SPECIAL[match.group()], one_line(text))


def _breakable(text: str) -> str:
    """Return text that may break inside long names too, after ``.``, ``_``, ``/`` and ``=``, but not in a number."""
    return re.sub(r"(=|(?:\\_|\.|/)(?=[A-Za-z]))", r"\1\\allowbreak{}", escaped(text))


def _float(table: ReportTable) -> str:
    lines = [
        "\\begin{table}",
        "\\centering",
        "\\small",
        _caption(table),
        "\\medskip",
        f"\\sbox0{{\\begin{{tabular}}{{{''.join(map(_place, table.columns))}}}",
        *_lines(table),
        "\\end{tabular}}%",  # shrunk where it is wider than the text, never enlarged
        "\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi",
        *_notes(table),
        "\\end{table}",
        "",
    ]
    return "\n".join(lines)


def _over_pages(table: ReportTable) -> str:
    top, head, rule, *rows, bottom = _lines(table)
    page = _page(table)
    lines = [
        *(["\\begin{landscape}"] if page.is_landscape else []),
        f"\\begingroup{page.size}\\setlength{{\\tabcolsep}}{{2pt}}\\setlength{{\\LTcapwidth}}{{\\linewidth}}",
        f"\\begin{{longtable}}{{{''.join(_places(table, page))}}}",
        _caption(table) + "\\\\",
        *(top, head, rule, "\\endfirsthead"),
        *(top, head, rule, "\\endhead"),
        *rows,
        bottom,
        "\\end{longtable}",
        *_notes(table),
        "\\endgroup",
        *(["\\end{landscape}"] if page.is_landscape else []),
        "",
    ]
    return "\n".join(lines)


def _page(table: ReportTable) -> "_Page":
    """Return the page on which a table fits: upright if it does, else across, else in smaller type."""
    long = sum(_is_long(table, place) for place in range(len(table.columns)))
    fits = (page for page in PAGES if _taken(table, page) + long * LEAST_SHARE * page.width <= page.width)
    return next(fits, PAGES[-1])


def _taken(table: ReportTable, page: "_Page") -> float:
    """Return the points that columns as wide as their cells take, with what parts all columns."""
    own = [place for place in range(len(table.columns)) if not _is_long(table, place)]
    return page.character * sum(_longest(table, place) for place in own) + GAP_OVER_PAGES * len(table.columns)


def _places(table: ReportTable, page: "_Page") -> list[str]:
    """Return the places of the columns of a table over pages: long text breaks into lines in the width that is left."""
    long = [place for place in range(len(table.columns)) if _is_long(table, place)]
    left = max(LEAST_SHARE * len(long), 1 - _taken(table, page) / page.width)
    weights = {place: min(_longest(table, place), 4 * LONG_CELL) for place in long}
    shares = {place: max(LEAST_SHARE, left * weights[place] / sum(weights.values())) for place in long}
    excess = sum(shares.values()) / left if long else 1.0
    return [
        f">{{\\raggedright\\arraybackslash}}p{{{shares[place] / excess:.3f}\\linewidth}}"
        if place in shares
        else _place(column)
        for place, column in enumerate(table.columns)
    ]


def _longest(table: ReportTable, place: int) -> int:
    """Return the characters of the widest cell or line of the title of a column, as it is written."""
    column = table.columns[place]
    if column.style is Style.RUN:
        return max(SHORT_ID, len(column.title))
    cells = (cell_text(row.cells[place], column=column) for row in table.rows)
    return max(map(len, [*cells, *_title_lines(column)]))


def _is_long(table: ReportTable, place: int) -> bool:
    column = table.columns[place]
    return column.is_prose or (column.style is Style.TEXT and _longest(table, place) > LONG_CELL)


def _place(column: Column) -> str:
    """Return the place of a column that is as wide as its cells: numbers flush right, text flush left."""
    return "r" if column.is_numeric else "l"


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
    return MARKS[cell.mark].format(_breakable(text) if column.style is Style.TEXT else escaped(text))


def _caption(table: ReportTable) -> str:
    title = table.title if table.title.endswith("?") else f"{table.title}."
    return f"\\caption{{{escaped(title)} {escaped(table.caption)}}}\\label{{tab:{_label(table.key)}}}"


def _label(key: str) -> str:
    """Return a key without characters that are special inside a label."""
    return re.sub(r"[^\w.:-]", "-", key)


def _notes(table: ReportTable) -> list[str]:
    return [f"\\par\\smallskip{{\\footnotesize\\raggedright {_breakable(note)}\\par}}" for note in table.notes]
