"""The studies that come with the package, and finding a study by name or path."""

from pathlib import Path

import pytest
from packaged import AT_EVERY_PRESET

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading import presets
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.space import configuration_count

EXPECTED = {
    "quickstart": 8,
    "maskpro-alpha": 5,
    "maskpro-logit-magnitude": 15,
    "maskpro-estimators": 9,
    "maskpro-initial-masks": 5,
    "methods-2-4": 1,
    "methods-patterns": 4,
}
"""Name of each study that must be there, with its number of configurations."""


TABLES = {
    "maskpro": [f"table-{number}" for number in (1, *range(4, 18))],
    "susi": [f"table-{number}" for number in (1, 2, 3, 4, 7, 9, 10)],
    "nmlab": ["relaxations", "starts", "maskpro-efficiency"],
}
FIGURES = {
    "maskpro": ["figure-2", "figure-3a", "figure-3b", "figure-4", "figure-5", "figure-6"],
    "susi": ["figure-3", "figure-4"],
}
"""Everything that the papers print and that varies something in training, and our own studies
with claims. Left out are tables of settings and data
(MaskPro 2 and 3, SUSI 5 and 6), schematic figures, and SUSI's table 8, the throughput of an inference server."""

HUB_IDS = {
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "llama-2-7b-more-tasks": "meta-llama/Llama-2-7b-hf",
    "llama-2-13b": "meta-llama/Llama-2-13b-hf",
    "llama-30b": "huggyllama/llama-30b",
    "vicuna-7b": "lmsys/vicuna-7b-v1.3",
    "gemma-7b": "google/gemma-7b",
    "deepseek-7b": "deepseek-ai/deepseek-llm-7b-base",
    "deepseek-7b-more-tasks": "deepseek-ai/deepseek-llm-7b-base",
    "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B",
    "qwen2.5-3b": "Qwen/Qwen2.5-3B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B",
}


def files() -> list[Path]:
    return sorted(loader._STUDIES.glob("*"), key=lambda path: path.stem)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_each_file_is_a_study_of_its_name(path):
    assert path.suffix == ".yaml"
    study = loader.load(path)
    assert study.name == path.stem
    assert study.title
    assert study.question
    assert study.question.endswith("?")
    assert loader.loads(loader.dump(study)) == study


@pytest.mark.parametrize(("name", "preset"), AT_EVERY_PRESET)
def test_each_preset_is_a_study_that_can_be_written_and_read(name, preset):
    study = loader.load(name, preset=preset)
    assert loader.loads(loader.dump(study)) == study
    assert study.name == (name if preset in (None, "small") else f"{name}-{preset}")
    small = preset in (None, "small")
    assert (study.model.source == "builtin:tiny") == (small or preset.startswith("small-"))
    assert not small or not study.data.evaluation.tasks  # whose questions may need a network or an extra


def test_every_table_and_figure_that_varies_something_has_a_study():
    wanted = {f"{paper}/{item}" for part in (TABLES, FIGURES) for paper, items in part.items() for item in items}
    small = [loader.load(path.stem) for path in files()]
    full = [loader.load(name, preset=preset) for name, preset in AT_EVERY_PRESET if preset not in (None, "small")]
    assert {item for study in small for item in study.reproduces} == wanted
    assert {item for study in full for item in study.reproduces} == wanted


@pytest.mark.parametrize(("name", "preset"), AT_EVERY_PRESET)
def test_nothing_is_chosen_on_the_text_that_is_reported(name, preset):
    study = loader.load(name, preset=preset)
    if name == "susi-tokens":  # shows curves over evaluation
        assert study.data.validation is None
        assert configuration_count(study) == 1, "there is nothing to choose"
        return
    chosen_on, reported = study.data.validation, study.data.evaluation
    assert (chosen_on.source, chosen_on.split) != (reported.source, reported.split) or study.data.learning_part
    assert not any(metric.startswith("eval/") for metric in study.search.metrics)


@pytest.mark.parametrize(("name", "preset"), AT_EVERY_PRESET)
def test_the_best_of_a_search_runs_again_on_fresh_seeds(name, preset):
    search = loader.load(name, preset=preset).search
    is_confirmed = search.algorithm != "grid" and len(search.metrics) == 1
    assert (search.confirm is not None) == is_confirmed
    if is_confirmed:
        assert (search.confirm.top, search.confirm.seeds) == (3, 5)


def test_what_learns_from_c4_is_chosen_on_its_validation_split():
    texts = [loader.load(name, preset=preset).data for name, preset in AT_EVERY_PRESET]
    of_c4 = {
        data.validation.source
        for data in texts
        if data.calibration.parts[0].source.startswith("allenai/c4:en/c4-train")
    }
    assert of_c4 == {"allenai/c4:en/c4-validation.00000-of-00008.json.gz"}


def test_models_of_the_papers_by_hub_id():
    assert set(presets.scales()) == {"tiny", "smollm2-135m", *HUB_IDS}
    assert {name: presets.scale(name)["model"]["source"] for name in HUB_IDS} == HUB_IDS
    used = {loader.load(name, preset=preset).model.source for name, preset in AT_EVERY_PRESET}
    assert used == {"builtin:tiny", "./smollm2-135m", *HUB_IDS.values()}


def test_a_scale_on_another_keeps_all_but_what_it_says():
    below, scale = presets.scale("llama-2-7b"), presets.scale("gemma-7b")
    assert scale == {**below, "model": {"source": "google/gemma-7b", "dtype": "bfloat16"}}


def test_list_is_sorted_and_complete():
    names = [study.name for study in loader.studies()]
    assert names == sorted(path.stem for path in files())
    assert set(EXPECTED) <= set(names)


@pytest.mark.parametrize(("name", "count"), EXPECTED.items())
def test_size(name, count):
    assert configuration_count(loader.load(name)) == count


def test_a_file_by_path_or_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(loader.dump(loader.load("quickstart", overrides=["name=mine"])), encoding="utf-8")
    assert loader.load(path) == loader.load(str(path))
    assert loader.load(path).name == "mine"


def test_unknown_names():
    with pytest.raises(StudyError) as near:
        loader.load("quickstrt")
    assert str(near.value) == "unknown study 'quickstrt'; did you mean 'quickstart'?"
    with pytest.raises(StudyError) as far:
        loader.load("zzz")
    names = ", ".join(path.stem for path in files())
    assert str(far.value) == f"unknown study 'zzz'; known: {names}"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(StudyError) as missing:
        loader.load("quickstrt.yaml")
    assert str(missing.value) == "study file 'quickstrt.yaml': not found; did you mean the packaged study 'quickstart'?"
    with pytest.raises(StudyError, match=r": a folder; expected a file$"):
        loader.load(tmp_path)
    unreadable = tmp_path / ("x" * 300 + ".yaml")
    with pytest.raises(StudyError, match=r": cannot be read: File name too long$"):
        loader.load(unreadable)
