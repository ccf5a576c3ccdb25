"""A search whose space was changed: what its Optuna study is told, once, whatever kills the process meanwhile."""

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nmlab.platform.search import optuna_journal
from nmlab.platform.search.changed_space import space_problem
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.search.successor import extended_strategy
from nmlab.search_spaces import loader

FIRST = "{alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {loguniform: [0.5, 4]}}"
NARROWER = "{alpha: {choice: [0.9, 0.95, 0.97]}, learning_rate: {loguniform: [1, 8]}}"


def study_of(space, *, samples=6, algorithm="tpe"):
    search = f"search={{algorithm: {algorithm}, samples: {samples}}}" if algorithm != "grid" else "search={}"
    more = ("baselines=[]", "seeds=[0]", "fixed={steps: 4}")
    return loader.load("quickstart", overrides=[f"space={space}", search, *more])


def ask(strategy, number):
    return [strategy.next() for _ in range(number)]


def trials(name, journal):
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name=name, storage=storage).trials


def state_of(name, journal):
    """Return what the study of a name was told, without times."""
    return [
        (each.state, each.values, each.params, each.intermediate_values, each.user_attrs)
        for each in trials(name, journal)
    ]


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "optuna.journal"


@pytest.fixture
def earlier(journal):
    """A search of which two configurations finished, one was pruned, one failed, and two run."""
    study = study_of(FIRST)
    strategy = strategy_of(study, journal=journal)
    proposals = ask(strategy, 6)
    strategy.tell(0, Outcome([3.0], intermediate={2: 5.0}))
    strategy.tell(1, Outcome([4.0]))
    strategy.tell(2, Outcome(None, pruned=True, intermediate={2: 9.0}))
    strategy.tell(3, Outcome(None))
    return study, proposals


def is_inside(configuration):
    return configuration["alpha"] in (0.9, 0.95) and configuration["learning_rate"] >= 1


def test_it_is_told_what_lies_in_the_new_space(earlier, journal):
    study, proposals = earlier
    extended_strategy(study_of(NARROWER, samples=12), earlier=(study,), journal=journal)
    inside = [each for each in proposals if is_inside(each.configuration)]
    assert 0 < len(inside) < len(proposals), "the example has both"
    before, after = (trials(name, journal) for name in ("quickstart", "quickstart#2"))
    assert [each.user_attrs["nmlab:configuration"] for each in after] == [each.configuration for each in inside]
    for found, proposal in zip(after, inside, strict=True):
        old = before[proposal.number]
        state = TrialState.RUNNING if proposal.number > 3 else old.state
        assert (found.state, found.values) == (state, old.values)
        assert (found.intermediate_values, found.params) == (old.intermediate_values, old.params)


def test_what_runs_goes_on_and_is_told_to_the_study_that_has_it(earlier, journal):
    study, proposals = earlier
    strategy = extended_strategy(study_of(NARROWER, samples=12), earlier=(study,), journal=journal)
    running = strategy.open()
    assert {json.dumps(each.configuration) for each in running} == {
        json.dumps(each.configuration) for each in proposals[4:]
    }
    for proposal in running:
        assert (proposal.number >= 0) == is_inside(proposal.configuration)
        strategy.tell(proposal.number, Outcome([2.0]))
    assert not any(each.state == TrialState.RUNNING for each in trials("quickstart", journal))
    assert not any(each.state == TrialState.RUNNING for each in trials("quickstart#2", journal))
    again = extended_strategy(study_of(NARROWER, samples=12), earlier=(study,), journal=journal)
    assert again.open() == []


def test_those_outside_count_as_tried(earlier, journal):
    study, _ = earlier
    strategy = extended_strategy(study_of(NARROWER, samples=9), earlier=(study,), journal=journal)
    made = ask(strategy, 3)
    assert strategy.next() is None
    assert all(is_inside(each.configuration) or each.configuration["alpha"] == 0.97 for each in made)


def test_a_process_that_is_killed_at_any_write_is_taken_up(earlier, journal, monkeypatch):
    study, _ = earlier
    start = journal.read_bytes()
    new = study_of(NARROWER, samples=12)
    extended_strategy(new, earlier=(study,), journal=journal)
    undisturbed = state_of("quickstart#2", journal), state_of("quickstart", journal)
    whole = len(journal.read_bytes().splitlines()) - len(start.splitlines())

    write = optuna_journal.OptunaJournalFile.append_logs
    for most in range(whole):
        journal.write_bytes(start)
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
                extended_strategy(new, earlier=(study,), journal=journal)
        extended_strategy(new, earlier=(study,), journal=journal)
        assert (state_of("quickstart#2", journal), state_of("quickstart", journal)) == undisturbed


def test_a_third_space_goes_on_from_both_earlier_ones(earlier, journal):
    study, proposals = earlier
    second = study_of(NARROWER, samples=8)
    strategy = extended_strategy(second, earlier=(study,), journal=journal)
    ask(strategy, 2)
    for each in strategy.open():
        strategy.tell(each.number, Outcome([1.0]))
    third = study_of(FIRST, samples=10)
    extended_strategy(third, earlier=(study, second), journal=journal)
    held = [each.user_attrs["nmlab:configuration"] for each in trials("quickstart#3", journal)]
    assert all(each.configuration in held for each in proposals), "what was outside of the second is inside again"
    assert len(held) == len({json.dumps(each) for each in held})


def test_the_same_space_goes_on_in_the_same_study(earlier, journal):
    study, _ = earlier
    strategy = extended_strategy(study_of(FIRST, samples=8), earlier=(study,), journal=journal)
    assert [each.number for each in ask(strategy, 2)] == [6, 7]
    assert strategy.next() is None


def test_a_name_that_is_searched_from_now_on_has_its_default_in_earlier_configurations(earlier, journal):
    study, proposals = earlier
    wider = FIRST.replace("}}", "}, masks_per_step: {int: [1, 4]}}")
    extended_strategy(study_of(wider, samples=8), earlier=(study,), journal=journal)
    held = [each.user_attrs["nmlab:configuration"] for each in trials("quickstart#2", journal)]
    assert held == [{**each.configuration, "masks_per_step": 1} for each in proposals]


def test_a_space_that_cannot_go_on_is_refused_in_one_line():
    old = study_of("{alpha: {grid: [0.9, 0.95]}}", algorithm="grid")
    new = study_of("{alpha: {grid: [0.9, 0.99]}}", algorithm="grid")
    line = "space: the new grid lacks {alpha: 0.95}; expected every point of the old grid, and more"
    assert space_problem(new, earlier=(old,), to_try=2, possible=2) == line
    longer = study_of("{alpha: {grid: [0.9, 0.95, 0.99]}}", algorithm="grid")
    assert space_problem(longer, earlier=(old,), to_try=3, possible=3) == ""
    small = study_of("{alpha: {choice: [0.9, 0.95]}}")
    line = "space: it has 2 configurations; expected 6 or more, as search.samples says"
    assert space_problem(small, earlier=(study_of(FIRST),), to_try=6, possible=2) == line


def test_a_hyperparameter_that_was_fixed_and_is_searched_from_now_on_keeps_what_was_tried(earlier, journal):
    study, proposals = earlier
    space = FIRST.replace("}}", "}, steps: {choice: [4, 8]}}")
    search = "search={algorithm: tpe, samples: 8}"
    overrides = [f"space={space}", search, "baselines=[]", "seeds=[0]", "fixed={}"]
    extended_strategy(loader.load("quickstart", overrides=overrides), earlier=(study,), journal=journal)
    held = trials("quickstart#2", journal)
    assert [each.user_attrs["nmlab:configuration"] for each in held] == [
        {"method": "maskpro", "pattern": "2:4", **each.configuration} for each in proposals
    ]
    assert {each.params["steps"] for each in held} == {4}
