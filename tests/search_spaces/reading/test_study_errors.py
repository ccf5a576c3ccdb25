"""Every kind of bad input, with the exact line that the user reads."""

import pytest
import yaml

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.overrides import as_given
from nmlab.search_spaces.reading.problems import StudyError

NM = 'expected "N:M" with 1 <= N <= M <= 32 (N kept of every M), such as "2:4"'
KINDS = "grid, choice, uniform, loguniform or int"
SCALAR = "expected a number, text, true, false or null; write compound values as text, such as '2:4'"
NAME = "expected a name of lower-case letters, digits and underscores, such as alpha"
LIST = "expected a list of at least one value, for example [0.9, 0.99]"
BASELINE = "expected a method, or a mapping with method and hyperparameters, as in {method: wanda}"
TOP = "name, preset, title, question, description, reproduces, model, data, pattern, method, fixed, space, baselines, search, seeds, replica, budget, intervals"  # noqa: E501

# Each row: an override of the packaged quickstart study, and all that is said after it, or after the line to blame.
VALUES = [
    # pattern and method
    ("pattern=3:2", f'{NM}; did you mean "2:3"?'),
    ("pattern=0:4", f"{NM}"),
    ("pattern=2-4", f'{NM}; did you mean "2:4"?'),
    ("pattern=2:04", f'{NM}; did you mean "2:4"?'),
    ("pattern=24", "expected text in quotes, or a mapping with grid or choice"),
    ("pattern={grid: [2:4, 9:8]}", f"pattern.grid[1] '9:8': {NM}; did you mean \"8:9\"?"),
    (
        "pattern={uniform: [1, 2]}",
        "unknown key 'uniform'; known: grid, choice, when",
    ),
    (
        "pattern={grid: [2:4], when: {method: maskpro}}",
        "pattern.when: expected no condition, because every configuration needs a pattern",
    ),
    ("method=5", "expected text in quotes, or a mapping with grid or choice"),
    (
        "method={choice: [maskpro, 3]}",
        "method.choice[1] 3: expected the name of a method, for example maskpro",
    ),
    # names and texts
    (
        "name=My Study",
        "expected lower-case letters and digits, joined by hyphens, for example maskpro-alpha",
    ),
    ("reproduces=table-10", "reproduces[0] 'table-10': expected paper/item, for example maskpro/table-10"),
    ('question="a\\nb"', "expected one line"),
    ("title=' '", "expected text that is not empty"),
    # unknown keys
    ("serch.samples=4", "serch: unknown key; did you mean 'search'?"),
    ("data.calibration.sample=4", "unknown key; did you mean 'data.calibration.samples'?"),
    ("samples=4", "unknown key; did you mean 'data.calibration.samples' or 'search.samples'?"),
    ("alpha=0.9", "unknown key; did you mean 'space.alpha'?"),
    ("steps=10", "unknown key; did you mean 'fixed.steps'?"),
    ("zzz=1", f"unknown key; known: {TOP}"),
    (
        "model.trust_remote_code=true",
        "no setting; code from a model repository is never run",
    ),
    # types and ranges
    ("model=x", "expected a mapping with source, revision, dtype, leave_dense; write {source: x}"),
    ("model.source=3", "expected text, in quotes where it looks like something else"),
    ("model.dtype=float64", "expected float32, bfloat16 or float16; did you mean 'float16'?"),
    ("data=null", "expected a mapping with calibration, validation, evaluation, neutral; indent its keys below it"),
    ("data.calibration.sequence_length=1", "expected at least 2"),
    ("data.evaluation.sequence_length=1", "expected at least 2"),
    ("data.calibration.batch_size=129", "expected at most the 128 samples"),
    ("data.evaluation.tasks=[a, a]", "'a' is given twice"),
    ("data.evaluation.perplexity=byte", "expected token or word"),
    ("replica.count=0", "expected at least 1"),
    ("replica.resources.gpus=-1", "expected at least 0"),
    ("replica.resources.gpu=1", "unknown key; did you mean 'replica.resources.gpus'?"),
    ("budget.time_limit=30", "expected a duration such as 45s, 30m or 1h30m; write 30s, 30m or 30h"),
    ("budget.time_limit=0s", "expected a duration such as 45s, 30m or 1h30m"),
    ("budget.time_limit=30m1h", "expected a duration such as 45s, 30m or 1h30m; write 1h30m"),
    ("budget.seconds=0", "expected more than 0"),
    ("budget.seconds=.inf", "expected a finite number"),
    ("seeds=[]", "expected a list of at least one"),
    ("seeds=[0, 1, 0]", "0 is given twice"),
    ("seeds=[0, -1]", "seeds[1] -1: expected at least 0"),
    ("seeds=[4294967296]", "seeds[0] 4294967296: expected at most 4294967295"),
    ("seeds=[a]", "seeds[0] 'a': expected a whole number"),
    ("seeds=[true]", "seeds[0] true: expected a whole number"),
    ("seeds=3", "expected a list of seeds; 3 of them are [0, 1, 2]; seed 3 alone is [3]"),
    # fixed values and baselines
    ("fixed=null", "expected a mapping; indent its keys below it"),
    ("fixed.alpha=[1]", f"{SCALAR}"),
    ("fixed.alpha=.nan", "expected a finite number"),
    ("fixed.Alpha=1", f"fixed.Alpha 'Alpha': {NAME}"),
    ("fixed.method=x", "'method' is no hyperparameter; expected at the top level, as method"),
    ("fixed.seed=1", "'seed' is no hyperparameter; expected at the top level, as seeds"),
    (
        "fixed={alpha: 0.9}",
        "quickstart.yaml, line 18: space.alpha: 'alpha' is also in fixed; expected in one of the two",
    ),
    ("baselines=wanda", "expected a list; write [wanda]"),
    ("baselines=[3]", f"baselines[0] 3: {BASELINE}"),
    ("baselines=[{alpha: 1}]", f"baselines[0] {{alpha: 1}}: {BASELINE}"),
    ("baselines=[dense, dense]", "'dense' is given twice"),
    (
        "baselines=[{method: wanda, seed: 3}]",
        "baselines[0] {method: 'wanda', seed: 3}: expected no seed; every configuration runs with the study's seeds",
    ),
    (
        "baselines=[{method: wanda, pattern: 3:2}]",
        f"baselines[0] {{method: 'wanda', pattern: '3:2'}}: pattern: {NM}; did you mean \"2:3\"?",
    ),
    # space entries
    (
        "space.alpha=0.9",
        f"expected a mapping with one of {KINDS}; a single value goes under fixed",
    ),
    ("space.alpha={gird: [1]}", "unknown key 'gird'; did you mean 'grid'?"),
    ("space.alpha={}", f"expected exactly one of {KINDS}; given none"),
    (
        "space.alpha={grid: [1], choice: [2]}",
        f"expected exactly one of {KINDS}; given grid and choice",
    ),
    ("space.alpha={grid: []}", f"space.alpha.grid []: {LIST}"),
    ("space.alpha={grid: 0.9}", f"space.alpha.grid 0.9: {LIST}; write [0.9]"),
    ("space.alpha={choice: [[1, 2]]}", f"space.alpha.choice[0] [1, 2]: {SCALAR}"),
    ("space.alpha={choice: [{a: 1}]}", f"space.alpha.choice[0] {{a: 1}}: {SCALAR}"),
    ("space.alpha={grid: [0.9, 0.9]}", "space.alpha.grid [0.9, 0.9]: 0.9 is given twice"),
    ("space.alpha={grid: [1, true]}", "space.alpha.grid [1, true]: true and 1 are equal"),
    (
        "space.alpha={uniform: [2, 1]}",
        "space.alpha.uniform [2, 1]: expected [low, high], two finite numbers with low < high; write [1, 2]",
    ),
    (
        "space.alpha={uniform: [0, .inf]}",
        "space.alpha.uniform [0, .inf]: expected [low, high], two finite numbers with low < high",
    ),
    (
        f"space.alpha={{uniform: [0, 1{'0' * 400}]}}",
        f"space.alpha.uniform [0, 1{'0' * 52}...: expected [low, high], two finite numbers with low < high",
    ),
    (
        "space.alpha={uniform: [1]}",
        "space.alpha.uniform [1]: expected [low, high], two finite numbers with low < high",
    ),
    (
        "space.alpha={loguniform: [0, 1]}",
        "space.alpha.loguniform [0, 1]: expected a low end above 0, because the scale is logarithmic",
    ),
    (
        "space.alpha={int: [1, 2.5]}",
        "space.alpha.int [1, 2.5]: expected [low, high], two whole numbers with low < high",
    ),
    # conditions
    ("space.alpha={grid: [1], when: 3}", "space.alpha.when 3: expected a mapping"),
    ("space.alpha={grid: [1], when: {initial_mask: []}}", f"space.alpha.when.initial_mask []: {LIST}"),
    (
        "space.alpha={grid: [1], when: {initial_masks: wanda}}",
        "space.alpha.when.initial_masks 'wanda': unknown name 'initial_masks'; did you mean 'initial_mask'?",
    ),
    (
        "space.alpha={grid: [1], when: {initial_mask: wandaa}}",
        "space.alpha.when.initial_mask 'wandaa': initial_mask is never 'wandaa'; did you mean 'wanda'?",
    ),
    (
        "space.alpha={grid: [1], when: {steps: 1500}}",
        "space.alpha.when.steps 1500: steps is fixed; expected a name from space, method or pattern",
    ),
    (
        "space.alpha={grid: [1], when: {learning_rate: 3}}",
        "space.alpha.when.learning_rate 3: learning_rate is loguniform; "
        "a condition needs a name with listed values or whole numbers",
    ),
    (
        "space.alpha={grid: [1], when: {alpha: 1}}",
        "space.alpha.when: conditions form a circle: alpha -> alpha",
    ),
    # search
    ("search.samples=ten", "expected a whole number"),
    ("search.samples=2.5", "expected a whole number"),
    ("search.samples=true", "expected a whole number"),
    ("search.samples=0", "expected at least 1"),
    ("search.samples=", "tpe needs a number of samples, for example 20"),
    ("search.algorithm=tpee", "expected grid, random, qmc, tpe, gp or nsga2; did you mean 'tpe'?"),
    ("space={}", "quickstart.yaml, line 30: search.algorithm 'tpe': nothing to search; expected entries in space"),
    ("search.scheduler=ahsa", "expected asha, median or hyperband; did you mean 'asha'?"),
    (
        "search.scheduler=asha",
        "quickstart.yaml: intervals.evaluate_every null: asha compares validation/perplexity during training; "
        "expected a number of steps, for example 250",
    ),
    (
        "search.metric=validation/perplexty",
        "unknown metric; did you mean 'validation/perplexity'?",
    ),
    (
        "search.metric=eval/perplexity",
        "data.validation is the text to choose on, and evaluation is for the report; expected validation/perplexity, "
        "or data.validation: null to choose on the evaluation text",
    ),
    (
        "search.metric=initial/perplexity",
        "unknown metric; did you mean 'validation/perplexity'?",
    ),
    (
        "search.metric=train/tau",
        "maskpro records no such metric; recorded by maskllm, soft_topn, susi",
    ),
    ("search.metric=train/flps", "unknown metric; did you mean 'train/flips'?"),
    (
        "search.metric=zzz",
        "unknown metric; for example validation/perplexity, train/loss or cost/seconds",
    ),
    ("search.mode=max", "validation/perplexity is better when it is lower; expected min"),
    ("search.metric=[]", "expected a list of at least one"),
    ("search.mode=smallest", "expected min or max"),
    (
        "search.mode=[min, max]",
        "expected one min or max for each metric, 1 in all",
    ),
    (
        "search.algorithm=nsga2",
        "quickstart.yaml, line 30: search.metric 'validation/perplexity': nsga2 needs a list of two or more",
    ),
]


@pytest.mark.parametrize(("override", "line"), VALUES, ids=[row[0] for row in VALUES])
def test_one_bad_value_gives_one_line(override, line):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=[override])
    assert str(caught.value) == (line if line.startswith("quickstart.yaml") else f"{as_given(override)}: {line}")


def test_missing_keys_say_what_belongs_there():
    with pytest.raises(StudyError) as caught:
        loader.loads("name: x\nmodel: {}\ndata: {calibration: {source: a.txt}}\n", source="my.yaml")
    assert list(caught.value.problems) == [
        "my.yaml, line 2: model.source: missing; expected `builtin:tiny`, a local Hugging Face folder, or a hub id",
        "my.yaml, line 3: data.evaluation: missing; expected a mapping with source, split, column, windowing, "
        "sequence_length, windows, batch_size, tasks, few_shot, questions, perplexity",
        'my.yaml: pattern: missing; expected N:M in quotes, for example "2:4", or an entry with several',
        "my.yaml: method: missing; expected method, for example maskpro, or an entry with several, "
        "each with its part of the space by `when`",
    ]


def test_long_values_are_cut():
    with pytest.raises(StudyError, match=r"^--set search\.samples=x{42}\.\.\.: expected a whole number$"):
        loader.load("quickstart", overrides=["search.samples=" + "x" * 500])
    with pytest.raises(StudyError, match=r"^mine: search\.samples 'x{56}\.\.\.: expected a whole number$"):
        loader.from_mapping(
            {**yaml.safe_load(loader.dump(loader.load("quickstart"))), "search": {"samples": "x" * 500}}, source="mine"
        )


def test_a_problem_is_a_value_error():
    assert issubclass(StudyError, ValueError)


def test_a_search_may_aim_at_the_questions_that_come_along():
    overrides = [
        "data.evaluation.tasks=[builtin:word-order]",
        "data.validation=null",
        "search={algorithm: tpe, samples: 3, metric: eval/word-order/acc, mode: max}",
    ]
    assert loader.load("quickstart", overrides=overrides).search.metrics == ("eval/word-order/acc",)


def test_early_stopping_cannot_look_at_what_is_measured_at_the_end():
    overrides = [
        "data.evaluation.tasks=[quiz.jsonl]",
        "data.validation=null",
        "search={algorithm: tpe, samples: 3, metric: eval/quiz/acc, mode: max, scheduler: asha}",
        "intervals.evaluate_every=50",
    ]
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=overrides)
    assert list(caught.value.problems) == [
        "--set search={algorithm: tpe, samples: 3, metric: eval/quiz/acc...: search.scheduler 'asha': expected null, "
        "because eval/quiz/acc is measured once, at the end of a trial"
    ]
