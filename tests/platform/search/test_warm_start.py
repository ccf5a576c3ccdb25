"""What a search is told of earlier launches: once, with its outcome and its source, and none of it counts as tried."""

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nmlab.platform.planning.listing import list_trials
from nmlab.platform.records.events import WarmStarted, record_from_json
from nmlab.platform.search import optuna_journal
from nmlab.platform.search.changed_space import full_values
from nmlab.platform.search.initial_points import RandomDraw
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.search.successor import extended_strategy
from nmlab.platform.search.warm_start import WARM_STARTED_FROM, WarmStart, warm_start_of
from nmlab.platform.testing.searcher_conformance import SearcherConformance
from nmlab.search_spaces import loader
from nmlab.search_spaces.space import DefineByRun

SPACE = "{alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {loguniform: [0.5, 4]}}"
WIDER = "{alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {loguniform: [0.5, 16]}}"
OUTCOMES = (
    {"values": [31.0], "intermediate": {"2": 33.0}},
    {"pruned": True, "intermediate": {"2": 40.0}},
    {},
    {"values": [30.0], "constraints": {"memory/peak_bytes": 5.0}},
)


def study_of(space=SPACE, *, samples=4, algorithm="tpe", more=""):
    search = f"search={{algorithm: {algorithm}, samples: {samples}{more}}}"
    return loader.load(
        "quickstart", overrides=[f"space={space}", search, "baselines=[]", "seeds=[0]", "fixed={steps: 4}"]
    )


def record_of(study, searched, *, name, **outcome):
    """Return a configuration of an earlier launch, given what is searched of it."""
    configuration = {"method": "maskpro", "pattern": "2:4", "steps": 4, **searched}
    settings = full_values(study, configuration)
    return {"launch": "earlier", "configuration": name, "seeds": [0, 1], "settings": settings, **outcome}


@pytest.fixture
def warm():
    """Four configurations in the space, one for each way to end and one that breaks a constraint; and one outside."""
    study = study_of(WIDER)
    inside = [
        record_of(study, {"alpha": 0.9, "learning_rate": 1.0 + number / 2}, name=f"c{number}", **outcome)
        for number, outcome in enumerate(OUTCOMES)
    ]
    return WarmStart([*inside, record_of(study, {"alpha": 0.95, "learning_rate": 9.0}, name="outside", values=[20.0])])


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "optuna.journal"


def trials(journal, name="quickstart"):
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name=name, storage=storage).trials


def state_of(journal, name="quickstart"):
    """Return what a study was told, without times."""
    return [
        (each.state, each.values, each.params, each.intermediate_values, each.user_attrs, each.constraints)
        for each in trials(journal, name)
    ]


def test_each_enters_with_its_outcome_and_its_source(warm, journal):
    strategy_of(study_of(), journal=journal, warm=warm)
    found = trials(journal)
    assert [each.state for each in found] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]
    assert [each.value for each in found] == [31.0, 40.0, None, 30.0]
    assert found[0].intermediate_values == {2: 33.0}
    assert found[0].params == {"alpha": 0.9, "learning_rate": 1.0}
    assert found[3].constraints == {"memory/peak_bytes": 5.0}
    assert {each.user_attrs[WARM_STARTED_FROM] for each in found} == {"earlier"}
    assert [each.user_attrs["configuration"] for each in found] == ["c0", "c1", "c2", "c3"]
    assert found[0].user_attrs["seeds"] == "0, 1"


def test_none_of_them_counts_as_tried_or_is_run_again(warm, journal):
    strategy = strategy_of(study_of(samples=4), journal=journal, warm=warm)
    assert strategy.open() == strategy.failed() == strategy.tried == []
    made = [strategy.next() for _ in range(5)]
    assert sum(proposal is not None for proposal in made) == 4


def test_the_search_learns_from_them_at_once(journal):
    """Twelve outcomes that fall with the learning rate: the search goes where they are low before it has any own."""
    study = study_of(samples=6)
    rates = [0.5 * 1.19**number for number in range(12)]
    told = [
        record_of(study, {"alpha": 0.99, "learning_rate": rate}, name=f"c{rate}", values=[100.0 - 20 * rate])
        for rate in rates
    ]
    warm_started = strategy_of(study, journal=journal, warm=WarmStart(told))
    first = [warm_started.next().configuration["learning_rate"] for _ in range(4)]
    cold = strategy_of(study, journal=journal.with_name("cold"))
    others = [cold.next().configuration["learning_rate"] for _ in range(4)]
    assert min(first) > 2.0
    assert min(others) < 2.0


def test_points_come_after_those_of_the_study_and_only_if_they_lie_in_its_space(journal):
    named = "{alpha: 0.9, learning_rate: 0.7}"
    points = [{"alpha": 0.95, "learning_rate": 3.0}, {"alpha": 0.95, "learning_rate": 9.0}]
    study = study_of(more=f", initial_points: [{named}]")
    strategy = strategy_of(study, journal=journal, warm=WarmStart(points=points))
    made = [strategy.next().configuration["learning_rate"] for _ in range(3)]
    assert made[:2] == [0.7, 3.0]
    assert made[2] not in (0.7, 3.0, 9.0)


def test_a_sobol_sequence_begins_where_it_would_without_them(warm, journal):
    study = study_of(samples=12, more=", startup: qmc")
    own = strategy_of(
        study, journal=journal, warm=WarmStart(warm.known_outcomes[2:3])
    )  # a failure is no outcome to learn from
    cold = strategy_of(study, journal=journal.with_name("cold"))
    assert [own.next().configuration for _ in range(3)] == [cold.next().configuration for _ in range(3)]


def test_a_process_that_is_killed_at_any_write_is_taken_up(warm, journal, monkeypatch):
    study = study_of()
    strategy_of(study, journal=journal, warm=warm)
    undisturbed = state_of(journal)
    whole = len(journal.read_bytes().splitlines())
    write = optuna_journal.OptunaJournalFile.append_logs
    for most in range(whole):
        journal.unlink()
        left = most

        def append(self, logs):
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            write(self, logs)

        with monkeypatch.context() as patch:
            patch.setattr(optuna_journal.OptunaJournalFile, "append_logs", append)
            with pytest.raises(KeyboardInterrupt):
                strategy_of(study, journal=journal, warm=warm)
        strategy = strategy_of(study, journal=journal, warm=warm)
        assert strategy.open() == []
        assert state_of(journal) == undisturbed


def test_a_later_process_tells_nothing_again(warm, journal):
    first = strategy_of(study_of(), journal=journal, warm=warm)
    first.tell(first.next().number, Outcome([3.0]))
    before = state_of(journal)
    strategy_of(study_of(), journal=journal, warm=warm)
    assert state_of(journal) == before


def test_a_changed_space_is_told_what_lies_in_it(warm, journal):
    """Also what was outside of the space that the launch began with."""
    first = strategy_of(study_of(samples=2), journal=journal, warm=warm)
    for _ in range(2):
        first.tell(first.next().number, Outcome([33.0]))
    wider = study_of(WIDER, samples=4)
    strategy = extended_strategy(wider, earlier=(study_of(samples=2),), journal=journal, warm=warm)
    found = trials(journal, "quickstart#2")
    names = [each.user_attrs["configuration"] for each in found if WARM_STARTED_FROM in each.user_attrs]
    assert names == ["c0", "c1", "c2", "c3", "outside"]
    assert len(found) == 5 + 2
    assert [strategy.next() is None for _ in range(3)] == [False, False, True]


def test_the_journal_of_a_launch_keeps_all_of_it(warm):
    record = WarmStarted(sources=[], entered=warm.known_outcomes, points=[{"alpha": 0.9, "learning_rate": 1.0}])
    again = record_from_json(json.loads(json.dumps(record.to_json())))
    assert warm_start_of([again]) == WarmStart(record.entered, record.points)
    assert warm_start_of([]) == WarmStart()


def test_the_listed_trials_are_those_that_a_launch_begins_with(plan_of, warm, tmp_path):
    texts = "data.calibration.samples=128"  # those of the study that the outcomes are of
    plan = plan_of(f"space={SPACE}", "search={algorithm: tpe, samples: 12}", "seeds=[0]", "fixed={steps: 4}", texts)
    cold, told = list_trials(plan), list_trials(plan, warm=warm)
    assert (cold.open, told.open) == (8, 11), "three of four random points are made up for by outcomes"


class TestWarmStartedConformance(SearcherConformance):
    """A warm-started search is one like any other."""

    algorithm = "tpe"

    def make(self, study, journal):
        draws = (RandomDraw(number) for number in range(3))
        inside = [DefineByRun(study)(draw) for draw in draws]
        named = [full_values(study, each) for each in inside]
        settings = list({json.dumps(each, sort_keys=True): each for each in named}.values())
        entered = [
            {
                "launch": "earlier",
                "configuration": f"c{number}",
                "seeds": [7],
                "settings": each,
                "values": [50.0 + number],
            }
            for number, each in enumerate(settings)
        ]
        strategy = strategy_of(study, journal=journal, warm=WarmStart(entered))
        assert len(strategy.optuna_study.trials) >= len(entered)
        return strategy
