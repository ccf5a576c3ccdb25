"""A hundred and twenty searches of another method, confirmed on fresh seeds: what the report says of their best.

Trials are simulated: a last perplexity with noise of the seed. The searcher, the choice of what is confirmed, and the
report's reading, tests and words are the real ones.
"""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from simulated import METRIC, SimulatedSweep

from nmlab.platform.planning.study_plan import LaunchPlan, plan_study
from nmlab.platform.records.events import TrialSubmitted
from nmlab.platform.search.confirmation import confirmations_of
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.analysis.pairwise import FreshVerdict, confirmed_of
from nmlab.reports.analysis.statements import mean_text
from nmlab.reports.narrative.confirmed_words import confirmed_sentences
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import trial_records
from nmlab.reports.statistics import mean_interval, winner_margin, winner_power
from nmlab.search_spaces import loader
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEARCHES, FINALISTS, SEEDS, FRESH_SEEDS = 120, 3, 3, 5
NOISE = 0.02
"""Standard deviation over seeds of the logarithm of a perplexity."""
TRUE_MEAN = 100 * math.exp(NOISE**2 / 2)
CHANGES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
BETTER = 0.6
SETTINGS = (
    "method=hill_climb",
    "fixed={steps: 50}",
    f"space={{mutation: {{grid: {CHANGES}}}}}",
    f"seeds={list(range(SEEDS))}",
    "baselines=[]",
    "data.validation=null",
    f"search={{algorithm: grid, confirm: {{top: {FINALISTS}, seeds: {FRESH_SEEDS}}}}}",
    "data.calibration={source: 'builtin:python-docs', samples: 4, sequence_length: 32, batch_size: 2}",
    "data.evaluation={source: 'builtin:python-docs', sequence_length: 32, windows: 4}",
)


@pytest.fixture(scope="module")
def plan(outside_method):
    """The plan of a search by the method of another package, which confirms its best three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(outside_method))
        registry.rescan()
        study = loader.load("quickstart", overrides=SETTINGS)
        yield LaunchPlan.unchecked(study, facts=plan_study(study).facts)
    registry.rescan()


def curve(number, *, margin):
    """Return the ends of trials: noise of the seed, and a margin of the better configuration."""
    draw, noise = np.random.default_rng(number), {}

    def ends(spec):
        own = noise.setdefault(spec.key, draw.normal(0, NOISE))
        gain = margin if spec.hyperparameters["mutation"] == BETTER else 0.0
        return {50: 100 * math.exp(own - gain)}

    return ends


def reported(plan, folder, *, number, margin=0.0):
    """Return what the report says of one search: what fresh seeds say of its best, and the sentences on it."""
    sweep = SimulatedSweep(plan, folder, curve=curve(number, margin=margin))
    sweep.drive()
    specs = {r.key: TrialSpec.model_validate(r.spec) for r in sweep.journal if isinstance(r, TrialSubmitted)}
    fresh = confirmations_of(sweep.journal).trials
    assert len(fresh) == FINALISTS * FRESH_SEEDS
    runs = [as_run(specs[key], result, is_fresh=key in fresh) for key, result in sweep.results.items()]
    points = pd.DataFrame({name: [] for name in ("run_id", "metric", "step", "value")})
    table = trial_records(runs, histories=points, objective=METRIC)
    items = configurations_of(
        SimpleNamespace(trials=table.trials, objective=Objective(METRIC, "min"), fresh_seeds=0, expected={})
    )
    (found,) = confirmed_of(items, evaluations={}).values()
    return found, confirmed_sentences(found, members=items, evaluations={})


def as_run(spec, result, *, is_fresh):
    """Return a trial as MLflow gives it back."""
    tags = {
        run_tags.TRIAL_KEY: spec.key,
        run_tags.CONFIGURATION: spec.configuration,
        run_tags.ROLE: "search",
        run_tags.STATUS: result["status"],
        run_tags.DEPENDS_ON_SEED: run_tags.TRUE,
        **({run_tags.CONFIRMATION: run_tags.TRUE} if is_fresh else {}),
    }
    params = {name: str(value) for name, value in spec.flat().items()}
    info = SimpleNamespace(run_id=spec.key, status="FINISHED")
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, params=params, metrics=dict(result["metrics"])))


def test_of_equal_configurations_the_search_is_optimistic_and_the_report_sees_no_difference(plan, tmp_path):
    searched, fresh, covered, seen = [], [], 0, 0
    for number in range(SEARCHES):
        found, text = reported(plan, tmp_path, number=number)
        again = found.best.as_reported.value
        searched.append(found.best.value.mean)
        fresh.append(again.mean)
        covered += again.low <= TRUE_MEAN <= again.high
        assert f"reaches perplexity {mean_text(found.best.as_reported)}" in text
        seen += FreshVerdict.NO_DIFFERENCE not in text
    chance = 3 * math.sqrt(SEARCHES * 0.05 * 0.95)
    assert mean_interval(searched).high < TRUE_MEAN - 100 * NOISE / math.sqrt(SEEDS)
    assert mean_interval(fresh).low <= TRUE_MEAN <= mean_interval(fresh).high
    assert covered >= 0.95 * SEARCHES - chance
    assert seen <= 0.05 * SEARCHES + chance


def test_an_effect_that_the_tests_find_with_90_percent_power_is_named(plan, tmp_path):
    size = {"deviation": NOISE, "seeds": FRESH_SEEDS, "configurations": FINALISTS}
    margin = winner_margin(0.9, **size)
    assert winner_power(margin, **size) == pytest.approx(0.9, abs=0.01)
    named = 0
    for number in range(SEARCHES):
        found, text = reported(plan, tmp_path, number=number, margin=margin)
        is_right = found.best.settings["mutation"] == BETTER and found.verdict is FreshVerdict.BETTER
        assert is_right <= ("find it better than both other finalists" in text)
        named += is_right
    assert named >= 0.8 * SEARCHES
