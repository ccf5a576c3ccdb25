"""Several wrong values at once: each has a line of its own, with its own place."""

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError

# Each row: several overrides, and the lines about them in order.
COMBINED = [
    (
        ["data.calibration.micro_batch=17"],
        ["--set data.calibration.micro_batch=17: expected at most the 16 sequences of a minibatch"],
    ),
    (
        ["search.samples=ten", "seeds=[]"],
        [
            "--set search.samples=ten: expected a whole number",
            "--set seeds=[]: expected a list of at least one",
        ],
    ),
    (
        ["search.algorithm=grid"],
        [
            "quickstart.yaml, line 30: search.samples 8: expected null, because a grid visits every point",
            "quickstart.yaml, line 19: space.logit_magnitude.uniform: expected grid or choice; a grid search needs "
            "listed values",
            "quickstart.yaml, line 20: space.learning_rate.loguniform: expected grid or choice; a grid search needs "
            "listed values",
        ],
    ),
    (
        ["search.algorithm=random", "search.metric=[validation/perplexity, cost/seconds]", "search.mode=min"],
        [
            "--set search.metric=[validation/perplexity, cost/seconds]: random takes one metric; "
            "several need tpe, gp or nsga2",
            "--set search.mode=min: expected one min or max for each metric, 2 in all",
            "quickstart.yaml, line 30: search.confirm: expected null, because search.metric names 2 objectives, which "
            "have no single best",
        ],
    ),
    (
        ["data.validation=null", "search.metric=eval/boolq/acc"],
        ["--set search.metric=eval/boolq/acc: unknown metric; data.evaluation.tasks has none"],
    ),
    (
        ["data.validation=null", "search.metric=eval/perplexty"],
        ["--set search.metric=eval/perplexty: unknown metric; did you mean 'eval/perplexity'?"],
    ),
    (
        ["data.validation=null", "search.metric=zzz"],
        ["--set search.metric=zzz: unknown metric; for example eval/perplexity, train/loss or cost/seconds"],
    ),
    (
        [
            "search={algorithm: nsga2, samples: 4, metric: [train/loss, cost/seconds], mode: [min, min]}",
            "search.scheduler=asha",
        ],
        [
            "--set search.scheduler=asha: expected null, because search.metric names 2 objectives, and "
            "no curve decides between them"
        ],
    ),
    (
        [
            "data.evaluation.tasks=[quiz]",
            "data.validation=null",
            "search={algorithm: nsga2, samples: 4, metric: [eval/quiz/acc, cost/tokens], mode: [min, max]}",
        ],
        [
            "--set search={algorithm: nsga2, samples: 4, metric: [eval/quiz/...: "
            "search.mode 'min': eval/quiz/acc is better when it is higher; expected max",
            "--set search={algorithm: nsga2, samples: 4, metric: [eval/quiz/...: "
            "search.mode 'max': cost/tokens is better when it is lower; expected min",
        ],
    ),
    (
        ["method={choice: [maskpro, susi]}", "search.metric=train/flips"],
        ["--set search.metric=train/flips: susi records no such metric; recorded by maskpro"],
    ),
    (
        ["search={algorithm: tpe, samples: 3, metric: cost/tokens, scheduler: median}", "intervals.evaluate_every=5"],
        [
            "--set search={algorithm: tpe, samples: 3, metric: cost/tokens, ...: search.scheduler 'median': expected "
            "null, because cost/tokens is measured once, at the end of a trial",
        ],
    ),
    (
        ["search={algorithm: tpe, samples: 3, metric: train/loss, scheduler: asha}", "intervals.evaluate_every=null"],
        [
            "--set intervals.evaluate_every=null: asha compares train/loss during training; expected a number of "
            "steps, for example 250",
        ],
    ),
    (
        ["space.a={grid: [1, 2], when: {b: 1}}", "space.b={grid: [1, 2], when: {a: 1}}"],
        ["--set space.a={grid: [1, 2], when: {b: 1}}: space.a.when: conditions form a circle: a -> b -> a"],
    ),
    (
        ["space.steps={int: [1, 4]}", "space.alpha={grid: [1], when: {steps: [2, 5]}}"],
        [
            "--set space.alpha={grid: [1], when: {steps: [2, 5]}}: space.alpha.when.steps [2, 5]: steps is never 5; "
            "expected a whole number from 1 to 4"
        ],
    ),
    (
        ["space.flag={grid: [true, false]}", "space.alpha={grid: [1], when: {flag: 1}}"],
        [
            "--set space.alpha={grid: [1], when: {flag: 1}}: space.alpha.when.flag 1: flag is never 1; expected true "
            "or false"
        ],
    ),
    (
        ["method={choice: [maskpro, susi]}", "space.alpha={grid: [1], when: {method: mask_pro}}"],
        [
            "--set space.alpha={grid: [1], when: {method: mask_pro}}: space.alpha.when.method 'mask_pro': method is "
            "never 'mask_pro'; did you mean 'maskpro'?"
        ],
    ),
]


@pytest.mark.parametrize(("overrides", "lines"), COMBINED, ids=[" ".join(row[0]) for row in COMBINED])
def test_every_problem_has_its_own_line(overrides, lines):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=overrides)
    assert list(caught.value.problems) == lines
