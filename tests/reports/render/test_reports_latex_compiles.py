"""LaTeX takes every table: the summary fits a column of a paper, the others are set for an appendix."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from nmlab.reports.render import latex_files
from nmlab.reports.values import Cell, Column, Direction, ReportTable, Row, Style

COLUMN = r"""\documentclass[10pt]{article}
\usepackage{array,booktabs,tabularx}
\setlength{\textwidth}{234pt}
\begin{document}
%s
\end{document}
"""
APPENDIX = r"""\documentclass[10pt]{article}
\usepackage{array,booktabs,graphicx,longtable,lscape}
\begin{document}
%s
\end{document}
"""
OVERFULL = re.compile(r"Overfull \\hbox \(([\d.]+)pt")
NAMES = ("dense (no mask)", "wanda", "maskpro, its initial mask (wanda)", "maskpro, best of 2,000")


def summary(columns=()):
    """A summary with long names, settings and wide intervals, and more metrics than fit."""
    own = (
        Column("mask", "mask"),
        Column("eval/perplexity", "perplexity", Style.FIXED2, Direction.LOWER),
        Column("fresh", "on fresh seeds", Style.FIXED2, Direction.LOWER),
        *columns,
        Column("setting", "setting"),
        Column("seeds", "seeds"),
        Column("configuration", "configuration", Style.CODE),
    )
    setting = "alpha=0.99, initial_mask=wanda, learning_rate=2.133, logit_magnitude=4.572"
    values = {
        "mask": None,
        "setting": Cell(setting),
        "seeds": Cell("3 of 3"),
        "configuration": Cell("63aa0b82"),
        "fresh": Cell(128.31, 124.56, 132.06, n=5),
    }
    rows = []
    for name in NAMES:
        cells = [
            Cell(name) if column.key == "mask" else values.get(column.key, Cell(123.45, 117.05, 129.85, n=3))
            for column in own
        ]
        rows.append(Row(tuple(cells), ("r1",)))
    return ReportTable("summary", "Summary", "Means & 95% intervals.", own, tuple(rows), notes=("Chosen of 2_000.",))


def test_the_summary_of_a_column_has_no_hashes_and_no_shrinking():
    found = latex_files(summary())
    assert set(found) == {"summary.tex", "summary_long.tex"}
    assert "63aa0b82" not in found["summary.tex"]
    assert "63aa0b82" in found["summary_long.tex"]
    assert not re.search(r"\\(?:small|scriptsize|tiny|resizebox)\b", found["summary.tex"])
    assert r"alpha=\allowbreak{}0.99" in found["summary.tex"]  # below the table
    labels = re.findall(r"\\label\{([^}]+)\}", "".join(found.values()))
    assert labels == ["tab:summary", "tab:summary_long"]


def test_metrics_stand_in_a_column_as_far_as_they_fit():
    more = tuple(Column(f"eval/task{n}/acc", f"task{n}", Style.FIXED4, Direction.HIGHER) for n in range(6))
    head = latex_files(summary(more))["summary.tex"].partition(r"\toprule")[2].partition(r"\midrule")[0]
    assert "perplexity" in head
    assert "fresh" in head
    assert "seeds" in head
    assert "task5" not in head
    assert "task5" in latex_files(summary(more))["summary_long.tex"]


def test_other_tables_are_one_file_each(document):
    names = [name for table in document.tables for name in latex_files(table)]
    assert sorted(names) == sorted([f"{table.key}.tex" for table in document.tables] + ["summary_long.tex"])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compile a text and return the log; skips where there is no pdflatex."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex on this machine")

    def compile_text(text):
        folder = tmp_path_factory.mktemp("latex")
        (folder / "paper.tex").write_text(text, encoding="utf-8")
        for _ in range(2):  # a table over pages finds its widths in the second run
            command = [program, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
        missing = re.search(r"File `([\w.]+)' not found", log)
        if missing:
            pytest.skip(f"this TeX has no {missing[1]}")
        assert done.returncode == 0, log[-3000:]
        return log

    return compile_text


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [0, 1, 6])
def test_the_summary_fits_a_column_at_normal_size(compiled, metrics):
    more = tuple(Column(f"eval/task{n}/acc", f"task{n}", Style.FIXED4, Direction.HIGHER) for n in range(metrics))
    log = compiled(COLUMN % latex_files(summary(more))["summary.tex"])
    assert OVERFULL.findall(log) == []


@pytest.mark.slow
def test_the_summary_of_a_report_fits_a_column(compiled, document):
    log = compiled(COLUMN % latex_files(document.tables[0])["summary.tex"])
    assert OVERFULL.findall(log) == []


@pytest.mark.slow
def test_every_table_of_a_report_compiles_for_an_appendix(compiled, document):
    tables = [latex_files(replace(table, key=f"{table.key}-a")) for table in document.tables]
    log = compiled(APPENDIX % "\n".join(text for files in tables for text in files.values()))
    assert "LaTeX Warning: Label" not in log
    assert [points for points in OVERFULL.findall(log) if float(points) > 20] == []
