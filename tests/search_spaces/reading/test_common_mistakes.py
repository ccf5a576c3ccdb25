"""Mistakes that a person makes in a study, each with the one line that says where it is and what to write instead."""

import codecs

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.sections import Search

STUDY = """\
name: mine
model: {source: builtin:tiny}
data:
  calibration: {source: builtin:python-docs, samples: 64}
  evaluation: {source: builtin:python-docs}
pattern: "2:4"
method: maskpro
fixed: {steps: 100}
space:
  alpha: {grid: [0.9, 0.99]}
baselines: [dense]
search: {algorithm: grid}
seeds: [0, 1]
"""
SECTION = ", ".join(Search.model_fields)
RANGE = "expected [low, high], two finite numbers with low < high"
SAMPLES = "expected a whole number, or a mapping with grid or choice"
DURATION = "expected a duration such as 45s, 30m or 1h30m"
KINDS = "grid, choice, uniform, loguniform or int"
MODEL = "expected a mapping with source, revision, dtype, leave_dense"

# Each row: a part of the study, what a person writes in its place (at the end, for an empty part), and the message.
MISTAKES = [
    # spaces, colons and columns
    (
        "  calibration",
        "\tcalibration",
        "line 4, column 1: a tab; YAML is indented with spaces, so write two spaces in place of each tab",
    ),
    (
        "method: maskpro",
        "method:maskpro",
        "line 7, column 1: a space is missing after the colon; write method: maskpro",
    ),
    ("name: mine", "name:mine", "line 1, column 1: a space is missing after the colon; write name: mine"),
    (
        "{algorithm: grid}",
        "{algorithm:grid}",
        "line 12: search.algorithm:grid: unknown key; a space is missing after the colon; write algorithm: grid",
    ),
    (
        "{algorithm: grid}",
        "\n  samples:8\n  algorithm: tpe",
        "line 13, column 3: a space is missing after the colon; write samples: 8",
    ),
    (
        "{algorithm: grid}",
        "\n  algorithm:grid",
        f"line 12: search 'algorithm:grid': expected a mapping with {SECTION}; a space is missing after the colon; "
        "write algorithm: grid",
    ),
    ("method: maskpro", "method maskpro", "line 7, column 1: 'method maskpro' has no colon; write KEY: VALUE"),
    (
        "  evaluation",
        " evaluation",
        "line 5, column 2: this line begins in a column of its own; the keys of one section begin in the same column",
    ),
    (
        "method: maskpro",
        "method: maskpro\n  steps: 100",
        "line 8, column 3: this line is indented deeper than the one above, which has a value already",
    ),
    # brackets and quotes
    ("[0, 1]", "[0, 1", "line 13, column 8: [ is not closed; write ] after its last value"),
    (
        "{steps: 100}",
        "{steps: 100",
        "line 9, column 6: a comma is missing before this, or the { of line 8 is not closed",
    ),
    (
        "[0.9, 0.99]}",
        "[0.9, 0.99] when: {method: maskpro}}",
        "line 10, column 29: a comma is missing before this, or the { is not closed",
    ),
    ('"2:4"', '"2:4', "line 6, column 10: the quote that opens here is not closed"),
    (
        "",
        "question: 'Isn't it?'",
        "line 14, column 16: text goes on after its closing quote; put all of it in quotes of the other kind",
    ),
    (
        "",
        "question: Is alpha: 0.9 best?",
        "line 14, column 19: a second colon; text that holds a colon and a space goes in quotes",
    ),
    ("{source: builtin:python-docs}", "{source: *.txt}", "line 5, column 24: text that begins with * goes in quotes"),
    (
        "{grid: [0.9, 0.99]}",
        "*alphas",
        "line 10, column 10: aliases (*name) and tags (!name) are not allowed; text that begins with * or ! goes in "
        "quotes",
    ),
    ("", "title: @home", "line 14, column 8: text that begins with @ goes in quotes"),
    (
        "",
        r'title: "C:\data"',
        "line 14, column 12: a backslash in double quotes begins an escape; write the text in single quotes",
    ),
    # what YAML makes of the whole text
    ("", "seeds: [3]", "line 14, column 1: key 'seeds' is given twice, first on line 13; keep one of them"),
    (
        "",
        "---\nname: other",
        "line 14, column 1: a second document begins here; a study is one document, so delete the line --- or make two "
        "files",
    ),
    (STUDY, "", "line 1: the file is empty; expected a mapping with name, model, data, pattern and method"),
    (STUDY, "# to do\n", "line 1: the file is empty; expected a mapping with name, model, data, pattern and method"),
    # lists and mappings
    (
        "[0, 1]",
        "3",
        "line 13: seeds 3: expected a list of seeds; 3 of them are [0, 1, 2]; seed 3 alone is [3]",
    ),
    ("[0, 1]", "0, 1, 2", "line 13: seeds '0, 1, 2': expected a list; write [0, 1, 2]"),
    ("[0, 1]", "0-4", "line 13: seeds '0-4': expected a list; write [0, 1, 2, 3, 4]"),
    ("[dense]", "dense, wanda", "line 11: baselines 'dense, wanda': expected a list; write [dense, wanda]"),
    (
        "[dense]",
        "- dense",
        "line 11, column 12: a list begins on the next line, or is written in brackets, as in [dense, wanda]",
    ),
    (
        "[0.9, 0.99]}",
        "0.9}",
        "line 10: space.alpha.grid 0.9: expected a list of at least one value, for example [0.9, 0.99]; write [0.9]",
    ),
    (
        "{grid: [0.9, 0.99]}",
        "[0.9, 0.99]",
        f"line 10: space.alpha [0.9, 0.99]: expected a mapping with one of {KINDS}; several values are "
        "{grid: [0.9, 0.99]}",
    ),
    (
        "{source: builtin:tiny}",
        "\n  - source: builtin:tiny",
        f"line 2: model [{{source: 'builtin:tiny'}}]: {MODEL}; write its keys without dashes",
    ),
    (
        "{source: builtin:tiny}",
        "builtin:tiny",
        f"line 2: model 'builtin:tiny': {MODEL}; write {{source: builtin:tiny}}",
    ),
    (
        '"2:4"',
        "[2:4, 4:8]",
        "line 6: pattern ['2:4', '4:8']: expected text in quotes, or a mapping with grid or choice; several values are "
        "{grid: ['2:4', '4:8']}",
    ),
    # numbers, ranges, durations, nothing
    (
        "{grid: [0.9, 0.99]}",
        "{uniform: [0,5, 0,9]}",
        f"line 10: space.alpha.uniform [0, 5, 0, 9]: {RANGE}; a comma separates numbers, so a decimal has a point, as "
        "in [0.5, 0.9]",
    ),
    ("", "budget: {seconds: '0,9'}", "line 14: budget.seconds '0,9': expected a number; write 0.9"),
    ("", "budget: {seconds: '1e-3'}", "line 14: budget.seconds '1e-3': expected a number; write 0.001 without quotes"),
    ("samples: 64", "samples: 1e3", f"line 4: data.calibration.samples 1000.0: {SAMPLES}; write 1000"),
    ("samples: 64", "samples: 1_000", f"line 4: data.calibration.samples '1_000': {SAMPLES}; write 1000"),
    ("samples: 64", "samples: 10k", f"line 4: data.calibration.samples '10k': {SAMPLES}; write 10000"),
    (
        "",
        "intervals:\n  log_every: 10# often",
        "line 15: intervals.log_every '10# often': expected a whole number; write 10 #..., since a comment begins with "
        "a space",
    ),
    (
        "{grid: [0.9, 0.99]}",
        "{uniform: [0.99, 0.9]}",
        f"line 10: space.alpha.uniform [0.99, 0.9]: {RANGE}; write [0.9, 0.99]",
    ),
    (
        "{grid: [0.9, 0.99]}",
        "{uniform: 0.9-0.99}",
        f"line 10: space.alpha.uniform '0.9-0.99': {RANGE}; write [0.9, 0.99]",
    ),
    (
        "{grid: [0.9, 0.99]}",
        "{uniform: {min: 0.9, max: 0.99}}",
        f"line 10: space.alpha.uniform {{min: 0.9, max: 0.99}}: {RANGE}; write [0.9, 0.99]",
    ),
    (
        "{grid: [0.9, 0.99]}",
        "{uniform: [50%, 90%]}",
        f"line 10: space.alpha.uniform ['50%', '90%']: {RANGE}; write [0.5, 0.9]",
    ),
    ("[0.9, 0.99]", "[0.9, .nan]", "line 10: space.alpha.grid[1] .nan: expected a finite number"),
    ("", "budget: {time_limit: 2 hours}", f"line 14: budget.time_limit '2 hours': {DURATION}; write 2h"),
    ("", "budget: {time_limit: 90 min}", f"line 14: budget.time_limit '90 min': {DURATION}; write 1h30m"),
    ("", "budget: {time_limit: 30}", f"line 14: budget.time_limit 30: {DURATION}; write 30s, 30m or 30h"),
    (
        "{algorithm: grid}",
        "{algorithm: grid, scheduler: no}",
        "line 12: search.scheduler 'no': expected asha, median or hyperband; write null for none",
    ),
    # names
    (
        "  evaluation",
        "  validation: {source: builtin:python-docs, widnows: 3}\n  evaluation",
        "line 5: data.validation.widnows: unknown key; did you mean 'data.validation.windows'?",
    ),
    ("seeds:", "sedes:", "line 13: sedes: unknown key; did you mean 'seeds'?"),
    (
        "search: {algorithm: grid}",
        "search.algorithm: grid",
        "line 12: search.algorithm: unknown key; dotted keys are for --set, so write search: {algorithm: ...}",
    ),
    ("{steps: 100}", "{steps: 100, C: 4}", "line 8: fixed.C 'C': here it is called logit_magnitude"),
    ("", "lr: 3", "line 14: lr: unknown key; here it is called learning_rate, under fixed or space"),
    ("", "presets: {small: {scale: tny}}", "line 14: presets.small.scale 'tny': unknown scale; did you mean 'tiny'?"),
]


@pytest.mark.parametrize(("part", "written", "line"), MISTAKES, ids=[repr(row[1])[:40] for row in MISTAKES])
def test_a_mistake_is_answered_by_one_line(tmp_path, monkeypatch, part, written, line):
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace(part, written) if part else f"{STUDY}{written}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as refused:
        loader.load("mine.yaml")
    assert str(refused.value) == f"mine.yaml, {line}"


def test_the_study_without_a_mistake_is_one():
    assert loader.loads(STUDY).name == "mine"


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + STUDY.encode(),
        STUDY.replace("\n", "\r\n").encode(),
        STUDY.replace("\n", "\r").encode(),
        STUDY.replace('"2:4"', "2:4").encode(),
        STUDY.replace("0.9,", "9e-1,").encode(),
    ],
    ids=["byte-order mark", "line ends of Windows", "line ends of old Macs", "a pattern without quotes", "an exponent"],
)
def test_what_means_the_same_is_the_same_study(tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    assert loader.load(tmp_path / "mine.yaml") == loader.loads(STUDY)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (STUDY.encode("utf-16"), "mine.yaml, line 1: the file is UTF-16; expected UTF-8 text, so save it as UTF-8"),
        (b"\x7fELF\x02\x01\x00\x00", "mine.yaml: a binary file; expected UTF-8 text, the YAML of a study"),
        (
            STUDY.encode() + "title: Größe\n".encode("latin-1"),
            "mine.yaml, line 14: byte 0xf6 is not UTF-8; expected UTF-8 text, so save the file as UTF-8",
        ),
        (
            STUDY.encode() + b"title: \x0c\n",
            "mine.yaml, line 14: the character #x000c, which no text file holds; expected text in UTF-8",
        ),
    ],
    ids=["UTF-16", "binary", "Latin-1", "a control character"],
)
def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path, monkeypatch, content, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(StudyError) as refused:
        loader.load("mine.yaml")
    assert str(refused.value) == line


def test_what_an_older_yaml_makes_of_a_pattern_without_quotes_is_named():
    """PyYAML reads 2:4 as a number of base 60, so a study that Python read holds that number."""
    base = loader.study_yaml.parse(STUDY, source="x")
    with pytest.raises(StudyError) as refused:
        loader.from_mapping({**base, "pattern": 124}, source="mine")
    assert str(refused.value) == (
        "mine: pattern 124: expected text in quotes, or a mapping with grid or choice; YAML 1.1 reads an unquoted 2:4 "
        "as the number 124, so write it in quotes"
    )
