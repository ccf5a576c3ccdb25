"""The best configuration of a launch by its files alone: selected by the search's metric, on the search's seeds."""

import pytest

from nmlab.platform.launches.best import best_in_folder
from nmlab.platform.launches.launch import create
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.testing.real_launches.studies import small
from nmlab.search_spaces import loader
from nmlab.trials.files.checked_json import write_checked
from nmlab.trials.trial.artifacts import RECORD_FORMAT

VALIDATION = {"source": "builtin:python-docs", "sequence_length": 32, "windows": 4}


def write_trial(launch, study, *, alpha, seed, **metrics):
    spec = trial_spec(study, {"method": "maskpro", "pattern": "2:4", "alpha": alpha, "steps": 4}, seed=seed)
    folder = launch.trial_folder(spec.key)
    folder.mkdir(parents=True)
    named = {f"{name}/perplexity": value for name, value in metrics.items()}
    record = {"key": spec.key, "spec": spec.model_dump(mode="json"), "metrics": named}
    write_checked(folder / "trial.json", record, format=RECORD_FORMAT)
    return spec


@pytest.fixture
def launched(tmp_path):
    data = small(seeds=[0, 1])
    data["data"]["validation"] = VALIDATION
    study = loader.from_mapping(data, source="small")
    settings = {"tracking_uri": "sqlite:///nmlab.db", "address": None, "max_failures": 3}
    return create(study, results=tmp_path, settings=settings), study


def test_validation_selects_and_evaluation_is_said(launched):
    launch, study = launched
    first = [write_trial(launch, study, alpha=0.9, seed=seed, validation=20.0 + seed, eval=30.0) for seed in (0, 1)]
    for seed in (0, 1):
        write_trial(launch, study, alpha=0.99, seed=seed, validation=22.0, eval=25.0)
    found = best_in_folder(launch.folder)
    assert (found.configuration, found.value) == (first[0].configuration, "eval/perplexity 30")
    assert [seed for seed, _ in found.folders] in ([0, 1], [1, 0])


def constrained(tmp_path, most):
    data = small(seeds=[0])
    data["search"] = {**data.get("search", {}), "constraints": {"memory/peak_bytes": {"max": most}}}
    study = loader.from_mapping(data, source="small")
    settings = {"tracking_uri": "sqlite:///nmlab.db", "address": None, "max_failures": 3}
    launch = create(study, results=tmp_path, settings=settings)
    for alpha, value, memory in ((0.9, 20.0, 5.0), (0.99, 10.0, 7.0)):
        spec = trial_spec(study, {"method": "maskpro", "pattern": "2:4", "alpha": alpha, "steps": 4}, seed=0)
        folder = launch.trial_folder(spec.key)
        folder.mkdir(parents=True)
        metrics = {"eval/perplexity": value, "memory/peak_bytes": memory}
        record = {"key": spec.key, "spec": spec.model_dump(mode="json"), "metrics": metrics}
        write_checked(folder / "trial.json", record, format=RECORD_FORMAT)
    return launch


@pytest.mark.parametrize(("most", "value"), [(6.0, "eval/perplexity 20"), (7.0, "eval/perplexity 10")])
def test_the_best_keeps_every_constraint(tmp_path, most, value):
    assert best_in_folder(constrained(tmp_path, most).folder).value == value


def test_no_best_is_named_where_all_break_a_constraint(tmp_path):
    launch = constrained(tmp_path, 4.0)
    wanted = "keeps search.constraints: memory/peak_bytes at most 4"
    with pytest.raises(ValueError, match=f"^launch {launch.name} has no finished configuration that {wanted}$"):
        best_in_folder(launch.folder)


def test_fresh_seeds_have_no_part_in_it(launched):
    launch, study = launched
    first = write_trial(launch, study, alpha=0.9, seed=0, validation=20.0, eval=30.0)
    write_trial(launch, study, alpha=0.9, seed=1, validation=20.0, eval=30.0)
    for seed in (0, 1):
        write_trial(launch, study, alpha=0.99, seed=seed, validation=22.0, eval=25.0)
    for seed in (2, 3, 4):
        write_trial(launch, study, alpha=0.99, seed=seed, validation=10.0, eval=10.0)
    found = best_in_folder(launch.folder)
    assert found.configuration == first.configuration
    assert len(found.folders) == 2
