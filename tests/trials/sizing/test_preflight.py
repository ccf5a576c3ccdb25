"""Preflight: the facts of model and text, and everything that would fail later, without loading weights."""

import json
import random
import shutil

import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec, NeutralSpec, ValidationSpec
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.models.sources import BUILTIN
from nmlab.trials.sizing.preflight import preflight

TINY = ModelSource(source="builtin:tiny")


@pytest.fixture
def check(text_file):
    """Run the preflight of a model and slices of the test text: check(samples=3, patterns=["4:8"])."""

    def run(*, model=TINY, patterns=("2:4",), calibration=None, validation=None, evaluation=None, neutral=()):
        return preflight(
            model,
            patterns=[Pattern.parse(pattern) for pattern in patterns],
            calibration=CalibrationSpec(
                **{"source": f"{text_file}[:60%]", "samples": 8, "sequence_length": 16, **(calibration or {})}
            ),
            evaluation=EvaluationSpec(**{"source": f"{text_file}[60%:]", "sequence_length": 24, **(evaluation or {})}),
            validation=None if validation is None else ValidationSpec(**{"sequence_length": 24, **validation}),
            neutral=neutral,
        )

    return run


def neutral(name, source, **given):
    return NeutralSpec(**{"name": name, "source": source, "sequence_length": 24, **given})


@pytest.fixture
def folder(tmp_path):
    """Return a copy of the built-in checkpoint."""
    for path in [*BUILTIN["builtin:tiny"].glob("*.json"), *BUILTIN["builtin:tiny"].glob("*.safetensors")]:
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_the_facts_are_those_of_the_loaded_model(check):
    facts, frozen = check(), FrozenModel.load(TINY)
    assert facts.architecture == "Qwen2ForCausalLM"
    assert facts.parameters == sum(parameter.numel() for parameter in frozen.module.parameters())
    assert facts.prunable == sum(layer.numel for layer in frozen.layers) == 26_624
    assert facts.layers == len(frozen.layers) == 14
    assert facts.model_bytes == 4 * facts.parameters
    assert facts.vocabulary_size == 512
    assert facts.evaluation_windows > 10
    assert check(model=ModelSource(source="builtin:tiny", dtype="bfloat16")).model_bytes == 2 * facts.parameters


def test_the_digest_is_of_both_texts(check, text_file):
    assert check().data_digest == check(calibration={"samples": 3}).data_digest
    assert check().data_digest != check(calibration={"source": f"{text_file}[:50%]"}).data_digest
    assert check().data_digest != check(evaluation={"source": f"{text_file}[70%:]"}).data_digest


def test_the_limit_on_windows_is_applied(check):
    assert check(evaluation={"windows": 3}).evaluation_windows == 3


def test_the_weights_are_not_read(check, folder):
    (folder / "model.safetensors").write_bytes(b"not read")
    assert check(model=ModelSource(source=str(folder))).layers == 14


def test_the_built_in_text_may_serve_for_both(check):
    both = {"source": "builtin:python-docs"}
    facts = check(calibration=both, evaluation={**both, "windows": 2})
    assert facts.evaluation_windows == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": ModelSource(source="./missing")}, "model folder './missing' does not exist"),
        ({"model": ModelSource(source="builtin:tny")}, "did you mean 'builtin:tiny'"),
        ({"patterns": ["2:4", "3:5"]}, "pattern 3:5: M=5 does not divide the input size of model.layers.0"),
        ({"calibration": {"source": "missing.txt"}}, "data file 'missing.txt' does not exist"),
        ({"evaluation": {"source": "missing.jsonl"}}, "data file 'missing.jsonl' does not exist"),
        ({"calibration": {"samples": 10**6}}, "1000000 samples were asked"),
        (
            {"calibration": {"sequence_length": 300}},
            "data.calibration.sequence_length = 300: the model reads at most 256",
        ),
        (
            {"evaluation": {"sequence_length": 300}},
            "data.evaluation.sequence_length = 300: the model reads at most 256",
        ),
    ],
)
def test_what_would_fail_later_fails_now(check, asked, message):
    with pytest.raises(SourceError) as refused:
        check(**asked)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_held_out_text_shorter_than_a_window_is_refused(check, tmp_path):
    (tmp_path / "short.txt").write_text("a few words")
    with pytest.raises(SourceError, match="shorter than one window of 24 tokens"):
        check(evaluation={"source": str(tmp_path / "short.txt")})


@pytest.mark.parametrize(("learned", "held_out"), [("", ""), ("", "[80%:]"), ("[:81%]", "[80%:]"), ("[:50%]", "")])
def test_masks_are_not_evaluated_on_the_text_they_learn_from(check, text_file, learned, held_out):
    with pytest.raises(SourceError, match=r"read the same text, .*; give another text, or slices such as .*\[:80%\]"):
        check(calibration={"source": f"{text_file}{learned}"}, evaluation={"source": f"{text_file}{held_out}"})


def test_the_same_text_is_found_under_another_name_and_in_another_form(check, text_file, tmp_path):
    lines = text_file.read_text().splitlines()
    (tmp_path / "copy.txt").write_text(" \n".join(lines[:100]))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines))
    (tmp_path / "shuffled.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in reversed(lines)))
    for calibration, evaluation in (
        ("copy.txt", text_file),
        (text_file, "copy.txt"),
        ("rows.jsonl", "copy.txt"),
        ("shuffled.jsonl", "rows.jsonl"),
    ):
        sources = {"source": str(tmp_path / calibration)}, {"source": str(tmp_path / evaluation)}
        with pytest.raises(
            SourceError, match=r"evaluation windows \(\d+.*%\) occur word for word in the calib|\(all of it\)"
        ):
            check(calibration=sources[0], evaluation=sources[1])


def test_a_few_windows_are_named_and_more_than_one_percent_refused(check, tmp_path):
    draw = random.Random(0)
    words = [f"w{draw.randrange(10**6)}" for _ in range(8000)]
    (tmp_path / "held_out.txt").write_text(" ".join(words))
    whole = {"source": str(tmp_path / "held_out.txt"), "sequence_length": 64}
    windows = check(evaluation=whole).evaluation_windows
    size = len(words) / windows  # words of a window
    for times, refused in ((1.9, False), (0.03 * windows, True)):
        shared = " ".join(words[: int(times * size)])
        (tmp_path / "learned.txt").write_text(" ".join(f"x{draw.randrange(10**6)}" for _ in range(4000)) + " " + shared)
        asked = {"calibration": {"source": str(tmp_path / "learned.txt")}, "evaluation": whole}
        if refused:
            with pytest.raises(SourceError, match="read the same text"):
                check(**asked)
        else:
            share = f"({100 / windows:.3g} %)"
            message = f"1 of {windows} evaluation windows {share} occur word for word in the calibration text"
            assert check(**asked).text_notes == (f"{message}; the first is window 0",)
    assert check().text_notes == ()


def test_slices_that_only_touch_are_apart(check, text_file):
    check(calibration={"source": f"{text_file}[:80%]"}, evaluation={"source": f"{text_file}[80%:]"})


def test_two_columns_of_one_file_are_two_texts(check, tmp_path):
    draw = random.Random(0)
    rows = [{name: " ".join(f"{name}{draw.randrange(10**6)}" for _ in range(50)) for name in "ab"} for _ in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"source": str(tmp_path / "a.jsonl")}
    assert check(calibration={**source, "column": "a"}, evaluation={**source, "column": "b"}).text_notes == ()


def test_files_that_are_left_out_of_a_folder_are_named(check, text_file, tmp_path):
    (tmp_path / "a.txt").write_text(text_file.read_text()[:5000])
    (tmp_path / "README.md").write_text("about")
    notes = check(calibration={"source": str(tmp_path)}, evaluation={"source": f"{text_file}[60%:]"}).text_notes
    assert notes == (f"data '{tmp_path}': left out as no data: {tmp_path}/README.md",)


def _edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").write_text("{"), "could not be read"),
        (lambda folder: _edit(folder / "config.json", model_type="no-such"), "could not be read"),
        (lambda folder: _edit(folder / "config.json", model_type="vit"), "could not be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer could not be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer"),
    ],
)
def test_a_damaged_checkpoint_is_refused(check, folder, spoil, message):
    spoil(folder)
    with pytest.raises(SourceError, match=message) as refused:
        check(model=ModelSource(source=str(folder)))
    assert "\n" not in str(refused.value)


def test_a_model_without_linear_layers_is_refused(check, random_model, folder):
    random_model("gpt2", n_embd=16, n_layer=2, n_head=2, n_positions=256).config.save_pretrained(folder)
    with pytest.raises(SourceError, match="GPT2LMHeadModel: expected one list of 2 decoder blocks"):
        check(model=ModelSource(source=str(folder)))


def test_validation_text_is_read_counted_and_part_of_the_digest(check, text_file):
    without = check(evaluation={"source": f"{text_file}[80%:]"})
    facts = check(validation={"source": f"{text_file}[60%:80%]"}, evaluation={"source": f"{text_file}[80%:]"})
    assert facts.evaluation_windows == without.evaluation_windows
    assert facts.validation_windows > 10
    assert without.validation_windows == 0
    assert facts.data_digest != without.data_digest
    limited = {"source": f"{text_file}[60%:80%]", "windows": 3}
    assert check(validation=limited, evaluation={"source": f"{text_file}[80%:]"}).validation_windows == 3


@pytest.mark.parametrize(
    ("calibration", "validation", "evaluation", "message"),
    [
        (
            "[:60%]",
            "[:60%]",
            "[60%:]",
            "calibration .* and validation .* read the same text, so masks would be eval",
        ),
        ("[:60%]", "[60%:]", "[60%:]", "validation .* and evaluation .* so results would be reported on the text that"),
        ("[:60%]", "[60%:]", "[:60%]", "calibration .* and evaluation .* read the same text"),
        ("[:70%]", "[60%:80%]", "[80%:]", r"validation windows .* occur word for word in the calibration text"),
        ("[:60%]", "[60%:90%]", "[80%:]", r"evaluation windows .* occur word for word in the validation text"),
    ],
)
def test_no_two_of_three_texts_overlap(check, text_file, calibration, validation, evaluation, message):
    given = {"calibration": calibration, "validation": validation, "evaluation": evaluation}
    with pytest.raises(SourceError, match=message):
        check(**{name: {"source": f"{text_file}{part}"} for name, part in given.items()})


def test_a_window_of_validation_text_must_fit_into_the_model(check, text_file):
    too_long = {"source": f"{text_file}[60%:80%]", "sequence_length": 100_000}
    with pytest.raises(SourceError, match=r"data\.validation\.sequence_length = 100000: the model reads at most"):
        check(validation=too_long, evaluation={"source": f"{text_file}[80%:]"})


def test_neutral_texts_are_read_counted_and_have_digests_of_their_own(check, text_file):
    evaluation = {"source": f"{text_file}[60%:80%]"}
    without = check(evaluation=evaluation)
    texts = [neutral("first", f"{text_file}[80%:90%]", windows=3), neutral("second", f"{text_file}[85%:]")]
    facts = check(evaluation=evaluation, neutral=texts)
    assert facts.data_digest == without.data_digest, "so that searches with and without neutral texts compare"
    assert (without.neutral_windows, without.neutral_digests) == ({}, {})
    assert facts.neutral_windows["first"] == 3
    assert facts.neutral_windows["second"] > 3
    assert len(set(facts.neutral_digests.values())) == 2
    changed = check(evaluation=evaluation, neutral=[neutral("first", f"{text_file}[80%:95%]", windows=3)])
    assert changed.neutral_digests["first"] != facts.neutral_digests["first"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("[:50%]", "calibration '.*' and neutral.own '.*' read the same text, so it is not neutral"),
        ("[40%:60%]", "neutral.own windows .* occur word for word in the calibration text"),
        ("[55%:70%]", "neutral.own windows .* occur word for word in the validation text"),
        ("[70%:80%]", "evaluation '.*' and neutral.own '.*' read the same text, so it is not neutral"),
        ("[75%:90%]", "neutral.own windows .* occur word for word in the evaluation text"),
    ],
)
def test_a_neutral_text_overlaps_no_other(check, text_file, part, message):
    others = {"calibration": "[:50%]", "validation": "[50%:70%]", "evaluation": "[70%:80%]"}
    given = {name: {"source": f"{text_file}{own}"} for name, own in others.items()}
    with pytest.raises(SourceError, match=message):
        check(**given, neutral=[neutral("own", f"{text_file}{part}")])


def test_a_neutral_text_that_is_missing_or_too_short_is_named(check, text_file):
    with pytest.raises(SourceError, match=r"gone\.txt' does not exist"):
        check(neutral=[neutral("own", "gone.txt")])
    with pytest.raises(SourceError, match=r"data\.neutral\.own\.sequence_length = 100000: the model reads at most"):
        check(neutral=[neutral("own", "builtin:python-docs", sequence_length=100_000)])


def mixture(text_file, *parts):
    return {"source": [f"{text_file}{part}" for part in parts]}


def test_a_mixture_is_read_and_part_of_the_digest(check, text_file):
    facts = check(calibration=mixture(text_file, "[:30%]", "[30%:50%]"))
    assert facts.evaluation_windows == check().evaluation_windows
    assert facts.data_digest != check().data_digest
    assert facts.data_digest != check(calibration=mixture(text_file, "[30%:50%]", "[:30%]")).data_digest


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            ("[:30%]", "[60%:]"),
            r"calibration\.source\[1\] '.*\[60%:\]' and evaluation '.*' read the same text",
        ),
        (("[:30%]", "[20%:80%]"), r"evaluation windows .* occur word for word in the calibration\.source\[1\] text"),
        (("[:30%]", "[:29%]", "[:30%]"), "is given twice"),
    ],
)
def test_texts_of_a_mixture_overlap_no_held_out_one(check, text_file, parts, message):
    with pytest.raises(ValueError, match=message):
        check(calibration=mixture(text_file, *parts))


def test_a_mixture_of_one_text_under_two_names_is_refused(check, text_file, tmp_path):
    again = tmp_path / "again.txt"
    again.write_bytes(text_file.read_bytes())
    message = r"calibration\.source\[0\] '.*' and calibration\.source\[1\] '.*' read the same text; give it once"
    with pytest.raises(SourceError, match=message):
        check(calibration={"source": [f"{text_file}[:60%]", f"{again}[:60%]"]})
