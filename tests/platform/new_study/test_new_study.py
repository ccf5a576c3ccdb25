"""`nmlab.new` writes a study that `nmlab.plan` accepts as it stands, with a reason for each number, or refuses."""

import json
import re
import shutil

import pytest

import nmlab
from nmlab.trials.data.python_docs import documents
from nmlab.trials.models.sources import BUILTIN

NUMBER = re.compile(r"\d")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text file of some tens of thousands of tokens."""
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("\n\n".join(documents("evaluation")), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(text, tmp_path_factory):
    """A study for that text and the built-in model, and its file."""
    path = tmp_path_factory.mktemp("study") / "mine.yaml"
    return nmlab.new("mine", model="builtin:tiny", text=text, budget="12h", output=path), path


def test_what_is_returned_is_what_the_file_says(made):
    study, path = made
    assert nmlab.load_study(path) == study


def test_plan_accepts_it_as_it_stands(made):
    plan = nmlab.plan(made[1])
    assert plan.trials == 3 + plan.configurations * 3 + 3 * 5
    assert plan.record()["prunable"].startswith("26,624 weights")


def test_it_selects_on_another_text_than_it_reports_and_confirms_on_fresh_seeds(made, text):
    study, _ = made
    data = study.data
    sources = (data.calibration.source, data.validation.source, data.evaluation.source)
    assert sources == tuple(f"{text}{part}" for part in ("[:80%]", "[80%:90%]", "[90%:]"))
    assert study.search.metric == "validation/perplexity"
    assert (study.seeds, study.search.confirm.top, study.search.confirm.seeds) == ((0, 1, 2), 3, 5)
    assert study.budget.total.seconds == 12 * 3600 * study.concurrency
    assert study.budget.time_limit is None


def test_every_number_has_a_reason_in_a_comment_before_it(made):
    lines = made[1].read_text().splitlines()
    commented, without = False, []
    for line in lines:
        is_comment = line.lstrip().startswith("#")
        told = line.startswith(("name:", "title:", "question:", "pattern:"))  # what was asked for
        if NUMBER.search(line) and not is_comment and not told and not commented:
            without.append(line)
        commented = is_comment
    assert not without
    assert lines[0].startswith("# nmlab ")
    assert max(map(len, (line for line in lines if line.lstrip().startswith("#")))) <= 118


def test_settings_of_it_are_changed_as_of_any_study(made):
    changed = nmlab.load_study(made[1], overrides=["fixed.steps=4", "search.samples=3", "seeds=[0]"])
    assert (changed.fixed["steps"], changed.search.samples, changed.seeds) == (4, 3, (0,))


def test_a_file_that_exists_is_not_overwritten(made):
    path = made[1]
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"mine\.yaml is there already; expected another file"):
        nmlab.new("mine", model="builtin:tiny", text="nowhere.txt", output=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("method", "other"), [("susi", "tau_end"), ("soft_topn", "lambda_end")])
def test_without_a_file_nothing_is_written(method, other, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = nmlab.new("other", model="builtin:tiny", text=text, method=method, pattern="4:8", budget="12h")
    assert (study.method, study.pattern, set(study.space)) == (method, "4:8", {"learning_rate", other})
    assert list(tmp_path.iterdir()) == []


def model_with(folder, **settings):
    """Return a copy of the built-in model whose configuration has other settings."""
    shutil.copytree(BUILTIN["builtin:tiny"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return folder


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"model": "no/such-folder/here"}, "no/such-folder/here"),
        ({"text": "nowhere.txt"}, "data file 'nowhere.txt' does not exist"),
        ({"pattern": "1:7"}, "7"),
        ({"budget": "1s"}, "budget 1s: 8 configurations of 100 steps, with their seeds and their confirmation, take a"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused_in_one_line(given, line, text, tmp_path):
    settings = {"model": "builtin:tiny", "text": text, **given}
    with pytest.raises(ValueError, match=r".") as refused:
        nmlab.new("mine", **settings, output=tmp_path / "mine.yaml")
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_text_too_short_for_three_parts_is_refused_with_its_tokens(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("a short text\n" * 300)
    with pytest.raises(ValueError, match=r"^text .*short\.txt\[80%:90%\]': validation would have [\d,]+ tokens; exp"):
        nmlab.new("mine", model="builtin:tiny", text=short)


def test_a_text_that_repeats_itself_is_refused_by_its_content(text, tmp_path):
    twice = tmp_path / "twice.txt"
    half = text.read_text()[:60_000]
    twice.write_text(half * 5)
    with pytest.raises(ValueError, match=r"occur word for word in .*; remove what the text holds twice"):
        nmlab.new("mine", model="builtin:tiny", text=twice)


def test_a_model_that_reads_too_few_tokens_is_refused(text, tmp_path):
    model = model_with(tmp_path / "model", max_position_embeddings=16)
    with pytest.raises(ValueError, match=r"^model: it reads 16 tokens at once; expected 32 or more$"):
        nmlab.new("mine", model=model, text=text)


def test_a_model_that_reads_few_tokens_gets_short_sequences(text, tmp_path):
    model = model_with(tmp_path / "model", max_position_embeddings=64)
    study = nmlab.new("mine", model=model, text=text, budget="12h")
    assert {study.data.calibration.sequence_length, study.data.evaluation.sequence_length} == {64}


def test_two_and_three_texts_are_taken_as_they_are(text, tmp_path):
    parts = [tmp_path / f"{name}.txt" for name in "abc"]
    for place, part in enumerate(parts):
        part.write_text("".join(f"{place}{word} " for word in text.read_text().split()[:9_000]))
    two = nmlab.new("mine", model="builtin:tiny", text=parts[:2], budget="12h").data
    assert [each.source for each in (two.calibration, two.validation, two.evaluation)] == [
        f"{parts[0]}[:90%]", f"{parts[0]}[90%:]", str(parts[1])
    ]  # fmt: skip
    three = nmlab.new("mine", model="builtin:tiny", text=parts, budget="12h").data
    assert [each.source for each in (three.calibration, three.validation, three.evaluation)] == list(map(str, parts))
