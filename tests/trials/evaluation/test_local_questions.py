"""Local files of multiple-choice questions: what is read, what is refused, and the messages."""

import json

import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import python_docs
from nmlab.trials.evaluation.questions import local_task

ROW = {"question": "Two of every _ are kept.", "choices": ["four", "eight"], "label": 0}


@pytest.fixture
def quiz(tmp_path):
    """Write lines (mappings or texts) into a file and return its path."""

    def write(*lines, name="quiz.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return write


@pytest.mark.parametrize(("suffix", "style"), [("", "cloze"), (":cloze", "cloze"), (":qa", "qa"), (":blank", "blank")])
def test_the_style_stands_behind_the_file(quiz, suffix, style):
    local = local_task(f"{quiz(ROW)}{suffix}")
    assert (local.style, local.name, local.rows()) == (style, "quiz", [ROW])


@pytest.mark.parametrize("name", ["arc_easy", "ai2_arc", "text.txt", "a/b", "c:qa"])
def test_other_names_are_no_files(name):
    assert local_task(name) is None


def test_only_what_a_question_needs_is_kept(quiz):
    path = quiz({**ROW, "source": "by hand"}, "", ROW)
    assert local_task(str(path)).rows() == [ROW, ROW]


def test_a_separator_inside_a_text_ends_no_line(quiz):
    row = {**ROW, "question": "first\u2028second _ third"}
    path = quiz(json.dumps(row, ensure_ascii=False))
    assert local_task(str(path)).rows() == [row]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ([], "line 2: expected {"),
        ({"question": "a", "choices": ["b", "c"]}, "line 2: expected {"),
        ({**ROW, "question": 3}, "line 2: question 3 is not a text"),
        ({**ROW, "choices": ["one"]}, "line 2: choices ['one']: expected two or more"),
        ({**ROW, "choices": "ab"}, "line 2: choices 'ab': expected two or more"),
        ({**ROW, "choices": ["a", ""]}, "line 2: choices ['a', '']: expected two or more texts that are not empty"),
        ({**ROW, "label": 2}, "line 2: label 2: expected a number from 0 to 1"),
        ({**ROW, "label": -1}, "line 2: label -1"),
        ({**ROW, "label": True}, "line 2: label True"),
        ({**ROW, "label": "0"}, "line 2: label '0'"),
    ],
)
def test_a_line_that_is_no_question_is_named(quiz, line, message):
    with pytest.raises(SourceError) as refused:
        local_task(str(quiz(ROW, line))).rows()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("question", ["No blank.", "The blank is last: _", "_ "])
def test_a_blank_needs_words_after_it(quiz, question):
    path = quiz({**ROW, "question": question})
    assert local_task(str(path)).rows()
    with pytest.raises(SourceError, match="a blank, _, and words after it"):
        local_task(f"{path}:blank").rows()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("none.jsonl", "task file 'none.jsonl' does not exist"),
        ("none.jsonl:qa", "task file 'none.jsonl' does not exist"),
        ("none.jsonl:close", "unknown style of none.jsonl 'close'; did you mean 'cloze'?"),
    ],
)
def test_a_wrong_reference_is_refused(tmp_path, monkeypatch, reference, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as refused:
        local_task(reference)
    assert message in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_a_question(quiz):
    path = quiz(ROW)
    path.write_bytes(path.read_text().encode("utf-8-sig"))
    assert local_task(str(path)).rows() == [ROW]


def test_half_a_surrogate_pair_is_refused_with_its_line(quiz):
    path = quiz(ROW, {**ROW, "choices": ["fine", "\ud800"]})
    with pytest.raises(SourceError, match=r"line 2 holds half a surrogate pair, \\ud800, at character 1"):
        local_task(str(path)).rows()


def test_an_empty_file_is_refused(quiz):
    with pytest.raises(SourceError, match="holds no question"):
        local_task(str(quiz(""))).rows()


def test_the_built_in_questions_are_about_the_evaluation_text():
    rows = local_task("builtin:word-order").rows()
    text = [" ".join(document.split()) for document in python_docs.documents("evaluation")]
    assert len(rows) > 300
    for row in rows:
        right = f"{row['question']} {row['choices'][row['label']]}"
        assert any(right in document for document in text)
        assert len(set(row["choices"])) == 4
        assert len({tuple(sorted(choice.split())) for choice in row["choices"]}) == 1


def test_the_built_in_questions_are_the_same_every_time_and_favour_no_place():
    rows = local_task("builtin:word-order").rows()
    assert rows == local_task("builtin:word-order").rows()
    shares = [sum(row["label"] == label for row in rows) / len(rows) for label in range(4)]
    assert all(0.15 < share < 0.35 for share in shares), shares


def test_another_builtin_task_gives_the_nearest_name():
    with pytest.raises(SourceError, match=r"unknown task 'builtin:word_order'.*builtin:word-order"):
        local_task("builtin:word_order")
