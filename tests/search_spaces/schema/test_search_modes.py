"""Which way a search goes: against no metric's own direction, and by itself where a study does not say."""

import pytest

from nmlab.search_spaces import loader

LOWER = ("eval/word_perplexity", "train/loss", "train/residual", "memory/peak_bytes", "memory/state_bytes",
         "time/step_s", "cost/seconds", "cost/initial_tokens", "cost/trainable_params", "eval/quiz/word_perplexity",
         "eval/quiz/brier_score", "eval/quiz/bits_per_byte")  # fmt: skip
HIGHER = ("eval/quiz/acc", "eval/quiz/acc_norm", "eval/quiz/exact_match.strict-match", "eval/quiz/f1", "eval/quiz/mcc")
NEITHER = ("train/flips", "train/mask_change", "train/delta", "eval/quiz/likelihood_diff")


def search_of(metric, **mode):
    given = {"algorithm": "tpe", "samples": 3, "metric": metric, **mode}
    text = ", ".join(f"{name}: {value}" for name, value in given.items())
    overrides = ["data.validation=null", "data.evaluation.tasks=[quiz]", f"search={{{text}}}"]
    return loader.load("quickstart", overrides=overrides).search


@pytest.mark.parametrize(
    ("metric", "wrong", "right", "word"),
    [*((metric, "max", "min", "lower") for metric in LOWER), *((metric, "min", "max", "higher") for metric in HIGHER)],
)
def test_a_mode_against_the_direction_is_refused(metric, wrong, right, word):
    with pytest.raises(ValueError) as refused:
        search_of(metric, mode=wrong)
    line = f"search.mode {wrong!r}: {metric} is better when it is {word}; expected {right}"
    assert str(refused.value).startswith("--set search={")
    assert str(refused.value).endswith(f": {line}")
    assert search_of(metric, mode=right).mode == right


@pytest.mark.parametrize("metric", NEITHER)
def test_what_has_no_direction_may_be_searched_either_way(metric):
    assert [search_of(metric, mode=mode).mode for mode in ("min", "max")] == ["min", "max"]


@pytest.mark.parametrize(
    ("metric", "modes"),
    [
        *((metric, ("min",)) for metric in (*LOWER, *NEITHER)),
        *((metric, ("max",)) for metric in HIGHER),
    ],
)
def test_where_no_mode_is_given_the_direction_decides(metric, modes):
    assert search_of(metric).modes == modes


def test_each_of_several_metrics_gets_its_own_mode():
    overrides = [
        "data.validation=null",
        "data.evaluation.tasks=[quiz]",
        "search={algorithm: nsga2, samples: 3, metric: [eval/quiz/acc, cost/tokens, train/flips]}",
    ]
    study = loader.load("quickstart", overrides=overrides)
    assert study.search.modes == ("max", "min", "min")
    assert loader.loads(loader.dump(study)) == study


def test_a_study_that_says_nothing_of_its_search_minimises_perplexity(study_of):
    assert (study_of().search.metric, study_of().search.mode) == ("eval/perplexity", "min")
