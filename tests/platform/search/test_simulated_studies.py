"""A hundred studies of another package's method, through the searcher, early stopping and the report's verdict.

Trials are simulated: a curve of perplexities with noise of the seed. All code that decides is the real one.
"""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from measured import as_curves
from simulated import METRIC, SimulatedSweep

from nmlab.platform.planning.study_plan import LaunchPlan, plan_study
from nmlab.platform.records.events import TrialMetrics, TrialSubmitted
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.analysis.pairwise import winners_of
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import trial_records
from nmlab.reports.statistics import winner_margin
from nmlab.search_spaces import loader
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STUDIES, CONFIGURATIONS, SEEDS = 100, 8, 3
STEPS = (0, 10, 20, 30, 40, 50)
NOISE = 0.01
"""Standard deviation over seeds of the logarithm of the last perplexity."""
CHANGES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
BEST = 0.6
SETTINGS = (
    "method=hill_climb",
    "fixed={steps: 50}",
    f"space={{mutation: {{grid: {CHANGES}}}}}",
    f"seeds={list(range(SEEDS))}",
    "baselines=[]",
    "data.validation=null",
    "intervals={evaluate_every: 10}",
    "data.calibration={source: 'builtin:python-docs', samples: 4, sequence_length: 32, batch_size: 2}",
    "data.evaluation={source: 'builtin:python-docs', sequence_length: 32, windows: 4}",
)
GRID, WITH_ASHA = "search={algorithm: grid}", "search={algorithm: grid, scheduler: asha, grace_period: 10}"
CHANCES = 10
"""Of 100 studies at 5% each, more than this many go wrong in about one of a hundred families of tests."""


@pytest.fixture(scope="module")
def plan_of(outside_method):
    """Return a builder of plans for the method of another package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(outside_method))
        registry.rescan()
        facts = plan_study(loader.load("quickstart", overrides=[*SETTINGS, GRID])).facts

        def build(search):
            study = loader.load("quickstart", overrides=[*SETTINGS, search])
            return LaunchPlan.unchecked(study, facts=facts)

        yield build
    registry.rescan()


def curves(draw, *, margin=0.0, best=BEST):
    """Return curves that fall alike, but for noise of the seed and a margin of the best, which grow with the steps."""
    noise = {}

    def curve(spec):
        own = noise.setdefault(spec.key, draw.normal(0, NOISE))
        gain = margin if spec.hyperparameters["mutation"] == best else 0.0
        return {step: 100 * math.exp((own - 0.3 - gain) * step / STEPS[-1]) for step in STEPS}

    return curve


def verdict(sweep):
    """Return the report's verdict on the best configuration of a sweep that has ended."""
    specs = {r.key: TrialSpec.model_validate(r.spec) for r in sweep.journal if isinstance(r, TrialSubmitted)}
    histories = pd.DataFrame(
        [
            (r.key, name, r.step, value)
            for r in sweep.journal
            if isinstance(r, TrialMetrics)
            for name, value in r.values.items()
        ],
        columns=["run_id", "metric", "step", "value"],
    )
    runs = [as_run(specs[key], result) for key, result in sweep.results.items()]
    table = trial_records(runs, histories=histories, objective=METRIC)
    study = SimpleNamespace(trials=table.trials, objective=Objective(METRIC, "min"), fresh_seeds=0, expected={})
    progress = as_curves(histories[histories["metric"] == METRIC])
    (winner,) = winners_of(configurations_of(study), evaluations={}, progress=progress).values()
    return winner


def as_run(spec, result):
    """Return a trial as MLflow gives it back."""
    tags = {
        "nmlab.trial_key": spec.key,
        "nmlab.configuration": spec.configuration,
        "nmlab.role": "search",
        "nmlab.status": result["status"],
        "nmlab.status_reason": f"stopped early: {result['reason']}" if result["status"] == "stopped" else "",
        "nmlab.depends_on_seed": "true",
    }
    params = {name: str(value) for name, value in spec.flat().items()}
    info = SimpleNamespace(run_id=spec.key, status="FINISHED")
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, params=params, metrics=dict(result["metrics"])))


def studies(plan, folder, *, margin):
    """Yield the sweep and the verdict of each simulated study."""
    for number in range(STUDIES):
        draw = np.random.default_rng(number)
        sweep = SimulatedSweep(plan, folder, curve=curves(draw, margin=margin))
        sweep.drive()
        yield sweep, verdict(sweep)


@pytest.mark.parametrize("search", [GRID, WITH_ASHA], ids=["to the end", "asha"])
def test_a_winner_among_equal_configurations_is_rarely_claimed(plan_of, tmp_path, search):
    claimed = sum(winner.is_claimed for _, winner in studies(plan_of(search), tmp_path, margin=0.0))
    assert claimed <= CHANCES


def test_a_better_configuration_is_claimed_and_never_stopped_for_its_own_seeds(plan_of, tmp_path):
    """The margin is the one that the verdict's tests find with 90% calculated power, of two that ran to the end."""
    size = {"seeds": SEEDS, "configurations": CONFIGURATIONS, "stopped": CONFIGURATIONS - 2}
    margin = winner_margin(0.9, deviation=NOISE, **size)
    named = 0
    for sweep, winner in studies(plan_of(WITH_ASHA), tmp_path, margin=margin):
        named += winner.is_claimed and winner.best.settings["mutation"] == BEST
        check_whole_configurations(sweep)
        best = statuses(sweep)[BEST]
        assert best == ["finished"] * SEEDS, "the best at every rung is not stopped"
    assert named >= 0.8 * STUDIES


SCHEDULERS = ("asha", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("median", "hyperband")))


def in_order(draw, *, best):
    """Return curves of which the best is ahead from the first step on, and ends 10% below the others."""
    return curves(draw, margin=0.1, best=best)


def crossing(draw, *, best):
    """Return curves that cross: the best configuration learns later than all others, and ends 10% below them."""
    noise = {}

    def curve(spec):
        own = noise.setdefault(spec.key, draw.normal(0, NOISE))
        is_late = spec.hyperparameters["mutation"] == best
        gained = {step: 0.4 * (step / STEPS[-1]) ** 3 if is_late else 0.3 * min(1, step / 20) for step in STEPS}
        return {step: 100 * math.exp(own * step / STEPS[-1] - gained[step]) for step in STEPS}

    return curve


def kept_and_spent(plan, folder, make, *, number=STUDIES):
    """Return in how many of so many studies the best ran to the end, and the share of all steps that were run.

    The best is every configuration of the grid in turn, since a scheduler compares the first ones with few others.
    """
    kept, steps = 0, 0
    for seed in range(number):
        best = CHANGES[seed % CONFIGURATIONS]
        sweep = SimulatedSweep(plan, folder, curve=make(np.random.default_rng(seed), best=best))
        sweep.drive()
        kept += statuses(sweep)[best] == ["finished"] * SEEDS
        steps += sum(result["step"] for result in sweep.results.values())
    return kept, steps / (number * CONFIGURATIONS * SEEDS * STEPS[-1])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_saves_steps_and_keeps_the_best_where_curves_keep_their_order(plan_of, tmp_path, scheduler):
    plan = plan_of(f"search={{algorithm: grid, scheduler: {scheduler}, grace_period: 10}}")
    kept, spent = kept_and_spent(plan, tmp_path, in_order)
    assert kept >= 0.9 * STUDIES
    assert spent < 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_stops_the_best_where_it_learns_late(plan_of, tmp_path, scheduler):
    """No rule knows what comes after the steps that it sees; a grace period past the crossing helps."""
    search = "search={{algorithm: grid, scheduler: {}, grace_period: {}}}"
    kept, _ = kept_and_spent(plan_of(search.format(scheduler, 10)), tmp_path, crossing)
    late, _ = kept_and_spent(plan_of(search.format(scheduler, 50)), tmp_path, crossing, number=2 * CONFIGURATIONS)
    low, high = (0.6, 0.9) if scheduler == "hyperband" else (0.2, 0.5)  # a quarter to a third is compared with no other
    assert low * STUDIES <= kept <= high * STUDIES
    assert late == 2 * CONFIGURATIONS


def statuses(sweep):
    """Return how the seeds of each configuration ended."""
    specs = {r.key: r.spec for r in sweep.journal if isinstance(r, TrialSubmitted)}
    found = {}
    for key, result in sorted(sweep.results.items(), key=lambda item: specs[item[0]]["seed"]):
        found.setdefault(specs[key]["hyperparameters"]["mutation"], []).append(result["status"])
    return found


def check_whole_configurations(sweep):
    """A configuration either ran to the end with all its seeds, or was stopped and none of its seeds went on."""
    for ended in statuses(sweep).values():
        assert len(ended) == SEEDS
        assert "stopped" not in ended or ended[-1] == "stopped"
    assert len(list(itertools.chain.from_iterable(statuses(sweep).values()))) == CONFIGURATIONS * SEEDS
