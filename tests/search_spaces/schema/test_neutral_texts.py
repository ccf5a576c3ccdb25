"""Studies with neutral texts: how entries are written, named and cut, and what is refused."""

import pytest
from pydantic import ValidationError

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.neutral import name_of_source
from nmlab.search_spaces.schema.study import Study


@pytest.fixture
def study_with(minimal):
    """Return a builder of studies with these neutral texts, given as YAML would have them."""

    def build(*texts, **changes):
        evaluation = {"source": "e.txt", "sequence_length": 64, "windows": 7, "batch_size": 4}
        data = {**minimal["data"], "evaluation": evaluation, "neutral": list(texts)}
        return Study.model_validate({**minimal, "data": data, **changes})

    return build


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("builtin:python-docs", "python-docs"),
        ("texts/News 2024.txt", "news-2024"),
        ("~/x/news.jsonl.gz[10%:50%]", "news"),
        ("corpus/**/*.parquet", "corpus"),
        ("folder/", "folder"),
        ("allenai/c4:en", "c4-en"),
        ("allenai/c4:en/c4-train.00000-of-01024.json.gz", "c4-train-00000-of-01024"),
        ("EleutherAI/wikitext_document_level:wikitext-2-raw-v1", "wikitext-document-level-wikitext-2-raw-v1"),
        ("*.txt", ""),
    ],
)
def test_a_text_is_called_after_its_source(source, name):
    """Trial keys depend on these names."""
    assert name_of_source(source) == name


def test_an_entry_is_cut_as_the_evaluation_text_unless_it_says_otherwise(study_with):
    first, second = study_with(
        "n.txt", {"source": "o.txt", "name": "own", "windows": 3, "windowing": "rolling"}
    ).data.neutral_texts
    cut = {"source": "n.txt", "sequence_length": 64, "windows": 7, "batch_size": 4, "windowing": "joined", "name": "n"}
    assert first.model_dump(exclude_none=True) == cut
    assert (second.name, second.windows, second.windowing, second.sequence_length) == ("own", 3, "rolling", 64)


def test_a_study_is_written_and_read_with_them_and_without_as_before(study_with, study_of):
    study = study_with("n.txt", {"source": "o.txt", "split": None})
    assert loader.loads(loader.dump(study)) == study
    assert "neutral" not in loader.dump(study_of())
    assert study_of().data.neutral_texts == ()
    assert study_of(data={**study_of().model_dump()["data"], "neutral": None}) == study_of()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "expected a list of at least one"),
        (
            ["a/news.txt", "b/news.txt"],
            r"data\.neutral\[1\] 'b/news\.txt': 'news' is the name of data\.neutral\[0\] already",
        ),
        (["*.txt"], r"data\.neutral\[0\] '\*\.txt': expected a name, as in \{name: news, source: \*\.txt\}"),
        (
            [{"source": "n.txt", "name": "a/b"}],
            "expected lower-case letters and digits, joined by hyphens or underscores",
        ),
        ([{"source": "n.txt", "name": "News"}], "expected lower-case letters and digits"),
    ],
)
def test_names_are_there_unique_and_parts_of_metrics(study_with, texts, message):
    with pytest.raises(ValidationError, match=message):
        study_with(*texts)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{sorce: n.txt}", "data.neutral[0].sorce: unknown key; did you mean 'data.neutral[0].source'?"),
        ("{name: n}", "data.neutral[0].source: missing; expected `builtin:*`, a text"),
        (
            "{source: n.txt, windows: none}",
            "data.neutral[0].windows 'none': expected a whole number; write null for none",
        ),
        ("3", "data.neutral[0] 3: expected a mapping with source, name, split"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(entry, message):
    text = (
        "name: small\nmodel: {source: builtin:tiny}\npattern: '2:4'\nmethod: wanda\ndata:\n"
        f"  calibration: {{source: a.txt}}\n  evaluation: {{source: b.txt}}\n  neutral:\n    - {entry}\n"
    )
    with pytest.raises(StudyError) as caught:
        loader.loads(text)
    assert any(problem.startswith(f"study.yaml, line 9: {message}") for problem in caught.value.problems)


def test_nothing_is_selected_by_a_neutral_text_unless_the_study_says_so(study_with, study_of, minimal):
    assert study_with("n.txt").search.metrics == ("eval/perplexity",)
    assert study_with("n.txt", search={"metric": "neutral/n/perplexity"}).search.modes == ("min",)
    with pytest.raises(ValidationError, match="did you mean 'neutral/n/perplexity'"):
        study_with("n.txt", search={"metric": "neutral/m/perplexity"})
    with pytest.raises(ValidationError, match=r"needs a neutral text, data\.neutral"):
        study_of(search={"metric": "neutral/n/perplexity"})
    space = {"learning_rate": {"uniform": [1, 2]}}
    search = {"algorithm": "random", "samples": 4, "scheduler": "asha", "metric": "neutral/n/perplexity"}
    with pytest.raises(ValidationError, match="is measured once, at the end of a trial"):
        study_with("n.txt", space=space, search=search)
    validated = {**minimal["data"], "validation": {"source": "v.txt"}, "neutral": ["n.txt"]}
    own = Study.model_validate({**minimal, "data": validated, "search": {"metric": "neutral/n/perplexity"}})
    assert own.search.metrics == ("neutral/n/perplexity",), "with validation text too, where the study says so"
