"""A search with constraints: what Optuna gets, and that no choice takes a configuration that breaks one."""

import math

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from simulated import METRIC

from nmlab.platform.driver.confirm_search import choose
from nmlab.platform.launches.endings import flat_study
from nmlab.platform.launches.standings import Entrant, standings
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import TrialEnded, TrialSubmitted
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.reports.read.objective import objective_of
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.search_spaces.space import grid_points

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "error::UserWarning")
MEMORY = "memory/peak_bytes"
LIMITS = (Constraint(MEMORY, max=100.0),)
CONSTRAINED = (
    "baselines=[]",
    "seeds=[0, 1]",
    f"search={{algorithm: tpe, samples: 3, constraints: {{{MEMORY}: {{max: 100}}}}}}",
)
GRID = (
    f"search={{algorithm: grid, confirm: {{top: 1, seeds: 1}}, constraints: {{{MEMORY}: {{max: 100}}}}}}",
    "space={alpha: {grid: [0.9, 0.95, 0.99]}}",
    "fixed={steps: 4}",
    "seeds=[0, 1]",
    "baselines=[]",
)


def finished(perplexity, memory):
    named = {} if memory is None else {MEMORY: memory}
    return {"status": "finished", "step": 4, METRIC: perplexity, **named}


def recorded(plan, journal, *results):
    """Give the seeds of the first configuration these results; return Optuna's record of it."""
    search = plan.study.search
    searcher = ReplicateSearcher(
        plan,
        strategy_of(plan.study, journal=journal),
        dispatcher="dispatcher",
        namespace="test",
        ended={},
        evaluated={},
        stopped_early=(),
        metric_mode=(search.metrics[0], search.modes[0]),
    )
    for number in range(len(results)):
        searcher.suggest(f"trial-{number}")
    for number, result in enumerate(results):
        searcher.on_trial_complete(f"trial-{number}", result=result)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name=plan.study.name, storage=storage).trials[0]


@pytest.mark.parametrize(("memory", "excess"), [((90.0, 130.0), 30.0), ((90.0, 80.0), -10.0)])
def test_optuna_learns_by_how_much_the_worst_seed_breaks_a_constraint(plan_of, tmp_path, memory, excess):
    trial = recorded(plan_of(*CONSTRAINED), tmp_path / "journal", *(finished(20.0, each) for each in memory))
    assert trial.state.name == "COMPLETE"
    assert trial.constraints == {MEMORY: excess}


def test_a_configuration_whose_constraint_nobody_measured_fails(plan_of, tmp_path):
    trial = recorded(plan_of(*CONSTRAINED), tmp_path / "journal", finished(20.0, 90.0), finished(20.0, None))
    assert trial.state.name == "FAIL"


def test_optuna_has_the_values_of_every_seed_under_readable_names(plan_of, tmp_path):
    plan = plan_of(*CONSTRAINED)
    trial = recorded(plan, tmp_path / "journal", finished(20.0, 90.0), {"status": "diverged", "step": 2})
    configuration = trial.user_attrs["nmlab:configuration"]
    assert trial.user_attrs["configuration"] == trial_spec(plan.study, configuration, seed=0).configuration
    own = {name: value for name, value in trial.user_attrs.items() if name.startswith("seed ")}
    assert own == {
        "seed 0: status": "finished",
        f"seed 0: {METRIC}": 20.0,
        f"seed 0: {MEMORY}": 90.0,
        "seed 1: status": "diverged",
    }


def test_tpe_leaves_the_region_that_breaks_a_constraint(plan_of, tmp_path):
    """The loss falls with the rate, and memory grows with it: without the limit the highest rate would be best."""
    space = "space={learning_rate: {uniform: [0.001, 1]}}"
    found = {}
    for limit in (0.3, 2.0):
        search = f"search={{algorithm: tpe, samples: 30, constraints: {{{MEMORY}: {{max: {limit}}}}}}}"
        plan = plan_of("baselines=[]", "seeds=[0]", space, search)
        strategy = strategy_of(plan.study, journal=tmp_path / str(limit))
        rates = []
        while (proposal := strategy.next()) is not None:
            rate = proposal.configuration["learning_rate"]
            rates.append(rate)
            excess = plan.study.search.all_constraints[0].excess([rate])
            strategy.tell(proposal.number, outcome(1.0 - rate, excess))
        found[limit] = sum(rates[15:]) / 15
    assert found[0.3] < 0.5 < found[2.0]


def outcome(value, excess):
    return Outcome([value], constraints={MEMORY: excess})


def test_a_report_reads_the_constraints_that_a_launch_has_recorded(plan_of):
    study = plan_of(*CONSTRAINED).study
    recorded = {name: str(value) for name, value in flat_study(study).items()}
    assert objective_of(recorded).constraints == study.search.all_constraints != ()


def journal_of(plan, memory):
    """Return the journal of a search in which a higher alpha is better, with the memory of each by alpha."""
    records = []
    for point in grid_points(plan.study):
        for seed in plan.study.seeds:
            spec = trial_spec(plan.study, point, seed=seed)
            metrics = {METRIC: 100 * (1 - point["alpha"]), MEMORY: memory[point["alpha"]] + seed}
            result = {"key": spec.key, "status": "finished", "step": 4, "metrics": metrics, "reason": ""}
            records += [
                TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json")),
                TrialEnded(key=spec.key, result={**result, "resumable": False}),
            ]
    return records


def test_what_breaks_a_constraint_on_any_seed_is_not_confirmed(plan_of):
    plan = plan_of(*GRID)
    choice = choose(plan, journal_of(plan, {0.9: 50.0, 0.95: 99.0, 0.99: 99.5}))
    (chosen,) = choice.chosen
    assert chosen["spec"]["hyperparameters"]["alpha"] == 0.95
    assert choice.looked_at == 3


def test_nothing_is_confirmed_where_everything_breaks_a_constraint(plan_of):
    plan = plan_of(*GRID)
    assert choose(plan, journal_of(plan, dict.fromkeys((0.9, 0.95, 0.99), 1e3))).chosen == []


def entrants(name, value, memory, *, role="search"):
    limited = {} if memory is None else {MEMORY: memory}
    return [Entrant(name, name, "2:4", role, 1, value, limited=limited)]


def test_the_best_so_far_keeps_every_constraint():
    everything = [*entrants("a", 1.0, 101.0), *entrants("b", 2.0, 100.0), *entrants("c", 0.5, None)]
    (standing,) = standings(everything, mode="min", constraints=LIMITS)
    assert standing.text == "best so far: b 2 (one seed); 2 configurations break search.constraints"
    (without,) = standings(everything, mode="min")
    assert without.text == "best so far: c 0.5 (one seed)"


def test_a_baseline_has_no_constraints_and_stands_beside_a_search_without_a_best():
    everything = [*entrants("a", 1.0, math.nan), *entrants("rule", 3.0, None, role="baseline")]
    (standing,) = standings(everything, mode="min", constraints=LIMITS)
    assert standing.text == "1 configuration breaks search.constraints; best baseline: rule 3"
