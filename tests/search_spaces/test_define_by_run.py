"""The space as Optuna sees it: real studies, real samplers, pickling."""

import json
import pickle
import warnings

import optuna
import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.space import DefineByRun

optuna.logging.set_verbosity(optuna.logging.ERROR)

CONDITIONAL = {
    "method": {"choice": ["maskpro", "susi"]},
    "pattern": {"choice": ["2:4", "4:8"]},
    "fixed": {"steps": 10},
    "space": {
        # Before the name it depends on, so that the order of questions is put right.
        "gumbel_scale": {"uniform": [0, 1], "when": {"schedule": ["linear", "cosine"]}},
        "alpha": {"uniform": [0.5, 1], "when": {"method": "maskpro"}},
        "schedule": {"grid": ["constant", "linear", "cosine"], "when": {"method": "susi"}},
        "learning_rate": {"loguniform": [0.001, 10]},
        "block_size": {"int": [1, 4]},
    },
    "search": {"algorithm": "tpe", "samples": 30},
}


@pytest.fixture
def define(study_of):
    return DefineByRun(study_of(**CONDITIONAL))


def expected_names(point):
    names = {"method", "pattern", "steps", "learning_rate", "block_size"}
    names |= {"alpha"} if point["method"] == "maskpro" else {"schedule"}
    return names | ({"gumbel_scale"} if point.get("schedule") in ("linear", "cosine") else set())


def test_tpe_with_groups_asks_for_active_names_only(define):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=0, multivariate=True, group=True, n_startup_trials=5)
    study = optuna.create_study(sampler=sampler)
    seen = set()
    for _ in range(30):
        trial = study.ask()
        point = define(trial)
        assert set(point) == expected_names(point)
        assert trial.params == {name: value for name, value in point.items() if name != "steps"}
        assert json.loads(json.dumps(point)) == point
        assert 0.001 <= point["learning_rate"] <= 10
        assert point["block_size"] in (1, 2, 3, 4)
        assert list(point)[:3] == ["method", "pattern", "steps"]
        seen.add((point["method"], point.get("schedule")))
        study.tell(trial, point["learning_rate"])
    assert seen == {("maskpro", None), *(("susi", name) for name in ("constant", "linear", "cosine"))}
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)


def test_scales_and_bounds_reach_optuna(define):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    distributions = {}
    for _ in range(20):
        trial = study.ask()
        define(trial)
        distributions |= trial.distributions
    categorical, real = optuna.distributions.CategoricalDistribution, optuna.distributions.FloatDistribution
    assert distributions == {
        "method": categorical(("maskpro", "susi")),
        "pattern": categorical(("2:4", "4:8")),
        "gumbel_scale": real(0.0, 1.0),
        "alpha": real(0.5, 1.0),
        "schedule": categorical(("constant", "linear", "cosine")),
        "learning_rate": real(0.001, 10.0, log=True),
        "block_size": optuna.distributions.IntDistribution(1, 4),
    }


def test_pickled_copy_proposes_the_same_points(define):
    copied = pickle.loads(pickle.dumps(define))
    assert copied == define
    studies = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)) for _ in range(2)]
    for _ in range(5):
        assert define(studies[0].ask()) == copied(studies[1].ask())


def test_points_survive_journal_storage(define, tmp_path):
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="s")
    points = []
    for _ in range(5):
        trial = study.ask()
        points.append(define(trial))
        study.tell(trial, 1.0)
    stored = [trial.params for trial in study.trials]
    assert stored == [{k: v for k, v in point.items() if k != "steps"} for point in points]


def test_quickstart():
    study = loader.load("quickstart")
    optuna_study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    point = DefineByRun(study)(optuna_study.ask())
    assert list(point) == [
        "method", "pattern", "steps", "alpha", "logit_magnitude", "learning_rate", "initial_mask",
    ]  # fmt: skip
    assert (point["method"], point["pattern"], point["steps"]) == ("maskpro", "2:4", study.fixed["steps"])
    assert point["alpha"] in (0.9, 0.97, 0.99)
    assert 4 <= point["logit_magnitude"] <= 6
    assert 0.5 <= point["learning_rate"] <= 4
    assert point["initial_mask"] in ("magnitude", "wanda")
