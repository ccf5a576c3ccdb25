"""The conformance tests of a `SearchStrategy`. A new strategy runs them in a subclass of `SearcherConformance`.

    class TestMySearch(SearcherConformance):
        algorithm = "tpe"                       # of the studies that the strategy is given

        def make(self, study, journal):         # called again with the same journal, it continues that search
            return MyStrategy(study, journal=journal)

Outcomes are computed from the configurations, so that no trial is run. Needs pytest and Optuna.
"""

import json
import math
import pickle
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nmlab.platform.search.initial_points import Given
from nmlab.platform.search.strategy_protocol import Outcome, Proposal, SearchStrategy
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import DefineByRun, grid_points

SAMPLES = 6
LISTED = "{alpha: {choice: [0.9, 0.95, 0.99]}, initial_mask: {choice: [magnitude, wanda]}}"
CONDITIONAL = (
    "{estimator: {choice: [vanilla, tracked]}, alpha: {choice: [0.9, 0.99], when: {estimator: tracked}}, "
    "initial_mask: {choice: [magnitude, wanda]}}"
)
RANGES = (
    "{learning_rate: {loguniform: [0.1, 10]}, masks_per_step: {int: [1, 9]}, estimator: {choice: [vanilla, tracked]}, "
    "alpha: {uniform: [0.5, 0.99], when: {estimator: tracked}}}"
)


FLAT_RANGES = RANGES.replace(", when: {estimator: tracked}", "")
"""The same without a condition."""


def study_of(
    algorithm: str,
    *,
    space: str,
    points: str = "[]",
    samples: int = SAMPLES,
    has_two_objectives: bool | None = None,
    more: str = "",
) -> Study:
    """Return a small study of MaskPro that is searched by ``algorithm``; ``nsga2`` has two objectives in any case.

    ``more`` are further keys of the section ``search``, as in ``startup: qmc``.
    """
    search = f"algorithm: {algorithm}" + (f", {more}" if more else "")
    if algorithm == "nsga2" if has_two_objectives is None else has_two_objectives:
        search += ", metric: [validation/perplexity, cost/forwards]"
    if algorithm != "grid":
        search += f", samples: {samples}, initial_points: {points}"
    overrides = [f"space={space}", f"search={{{search}}}", "baselines=[]", "seeds=[0]", "fixed={steps: 4}"]
    return loader.load("quickstart", overrides=overrides)


class SearcherConformance:
    """Tests of a strategy.

    Attributes:
        algorithm: that of the studies.
        learns: whether it keeps outcomes in an Optuna journal.
        takes_conditions: whether it takes a space with ``when``.
        has_two_objectives: whether the studies have two; None leaves it to the algorithm.
        more: further keys of the section ``search`` of the studies.
    """

    algorithm: ClassVar[str]
    learns: ClassVar[bool] = True
    takes_conditions: ClassVar[bool] = True
    has_two_objectives: ClassVar[bool | None] = None
    more: ClassVar[str] = ""

    def make(self, study: Study, journal: Path) -> SearchStrategy:
        """Return the strategy; with the journal of an earlier one it continues that search."""
        raise NotImplementedError

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Path:
        return tmp_path / "search.journal"

    @pytest.fixture(params=[LISTED, CONDITIONAL, RANGES], ids=["listed", "conditional", "ranges"])
    def study(self, request: pytest.FixtureRequest) -> Study:
        if self.algorithm == "grid" and request.param == RANGES:
            pytest.skip("a grid has no ranges")
        if not self.takes_conditions and request.param == CONDITIONAL:
            pytest.skip("it takes no conditions")
        return self._study(FLAT_RANGES if not self.takes_conditions and request.param == RANGES else request.param)

    @pytest.fixture
    def learned(self) -> Study:
        """A study with ranges, of a search that keeps outcomes."""
        if not self.learns:
            pytest.skip("it keeps no outcomes")
        return self._study(self._ranges)

    @property
    def _ranges(self) -> str:
        return RANGES if self.takes_conditions else FLAT_RANGES

    def _study(self, space: str, *, points: str = "[]", samples: int = SAMPLES) -> Study:
        two, more = self.has_two_objectives, self.more
        return study_of(self.algorithm, space=space, points=points, samples=samples, has_two_objectives=two, more=more)

    def test_points_lie_in_the_space_and_are_as_many_as_asked_and_different(self, study: Study, journal: Path) -> None:
        strategy = self.make(study, journal)
        made = list(self._run(strategy, study))
        assert [strategy.next(), strategy.next()] == [None, None], "it has no more after the last"
        wanted = len(grid_points(study)) if self.algorithm == "grid" else SAMPLES
        assert len(made) == wanted
        for proposal in made:
            assert proposal.configuration == DefineByRun(study)(Given(proposal.configuration))
        configurations = [proposal.configuration for proposal in made]
        assert all(one not in configurations[:number] for number, one in enumerate(configurations))
        assert len({proposal.number for proposal in made}) == wanted

    def test_the_same_study_is_searched_the_same_way(self, study: Study, journal: Path) -> None:
        one, other = (list(self._run(self.make(study, journal.with_name(name)), study)) for name in ("one", "other"))
        assert one == other

    def test_a_space_can_be_sent_to_another_process(self, study: Study, journal: Path) -> None:
        again = pickle.loads(pickle.dumps(DefineByRun(study)))
        for proposal in islice(self._run(self.make(study, journal), study), 3):
            restored = json.loads(json.dumps(proposal.configuration))
            assert restored == proposal.configuration
            assert again(Given(restored)) == proposal.configuration
            assert list(map(type, restored.values())) == list(map(type, proposal.configuration.values()))

    def test_a_later_process_continues_where_the_first_one_died(self, study: Study, journal: Path) -> None:
        """It then proposes what an undisturbed search would; a grid, which keeps no outcomes, starts again.

        After an early death the next two proposals are looked at, after a later one all to the end.
        """
        undisturbed = list(self._run(self.make(study, journal.with_name("undisturbed")), study))
        for cut, end in ((0, 2), (1, 3), (4, None)):
            file = journal.with_name(f"cut after {cut}")
            first = self.make(study, file)
            made = list(islice(self._run(first, study), cut))
            second = self.make(study, file)
            assert second.open() == []
            kept = made if self.learns else []
            rest = islice(self._run(second, study), None if end is None else end - len(kept))
            assert [*kept, *rest] == undisturbed[:end]

    def test_what_was_proposed_and_has_no_outcome_is_proposed_again(self, learned: Study, journal: Path) -> None:
        first = self.make(learned, journal)
        made = [first.next() for _ in range(3)]
        assert made[0] is not None
        first.tell(made[0].number, self._outcome(made[0], learned))
        second = self.make(learned, journal)
        assert second.open() == made[1:]
        rest = list(self._run(second, learned))
        assert len(made) + len(rest) == SAMPLES

    def test_nothing_is_left_running(self, learned: Study, journal: Path) -> None:
        list(self._run(self.make(learned, journal), learned))
        trials = _trials(learned, journal)
        assert all(trial.state.is_finished() for trial in trials)
        assert self.make(learned, journal).open() == []

    def test_a_finished_one_is_complete_with_its_values(self, learned: Study, journal: Path) -> None:
        values = [3.5, 8.0][: len(learned.search.metrics)]
        trial = self._recorded(learned, journal, Outcome(values, intermediate={2: 5.0}))
        assert (trial.state, trial.values) == (TrialState.COMPLETE, values)

    def test_a_stopped_one_is_pruned_with_what_it_had(self, learned: Study, journal: Path) -> None:
        trial = self._recorded(learned, journal, Outcome(None, pruned=True, intermediate={2: 5.0, 4: 4.0}))
        if len(learned.search.metrics) > 1:  # Optuna prunes by one objective only
            assert trial.state == TrialState.FAIL
            return
        assert trial.state == TrialState.PRUNED
        assert trial.intermediate_values == {2: 5.0, 4: 4.0}

    @pytest.mark.parametrize("value", [None, math.nan, math.inf])
    def test_one_without_a_finite_value_failed(self, learned: Study, journal: Path, value: float | None) -> None:
        values = None if value is None else [value, 8.0][: len(learned.search.metrics)]
        trial = self._recorded(learned, journal, Outcome(values, intermediate={2: math.nan}))
        assert trial.state == TrialState.FAIL

    def test_a_search_that_has_learned_is_continued_where_the_first_process_died(
        self, learned: Study, journal: Path
    ) -> None:
        """As above, past the points that are drawn without outcomes, and with proposals that have no outcome yet."""
        study = self._study(self._ranges, samples=SAMPLES + 2)
        undisturbed = list(self._two_at_a_time(self.make(study, journal.with_name("undisturbed")), study, cut=None))
        for cut in (3, SAMPLES):
            file = journal.with_name(f"cut after {cut}")
            made = list(self._two_at_a_time(self.make(study, file), study, cut=cut))
            second = self.make(study, file)
            rest = list(self._two_at_a_time(second, study, cut=None, open_ones=second.open()))
            assert made + rest == undisturbed

    def test_what_breaks_a_constraint_is_complete_and_marked(self, learned: Study, journal: Path) -> None:
        values = [3.5, 8.0][: len(learned.search.metrics)]
        outcome = Outcome(values, constraints={"memory/peak_bytes": 5.0, "cost/seconds": -1.0})
        trial = self._recorded(learned, journal, outcome)
        assert (trial.state, trial.values) == (TrialState.COMPLETE, values)
        assert trial.constraints == {"memory/peak_bytes": 5.0, "cost/seconds": -1.0}

    def test_a_constraint_that_nobody_could_check_fails(self, learned: Study, journal: Path) -> None:
        values = [3.5, 8.0][: len(learned.search.metrics)]
        trial = self._recorded(learned, journal, Outcome(values, constraints={"memory/peak_bytes": math.inf}))
        assert trial.state == TrialState.FAIL

    def test_an_outcome_bears_readable_names(self, learned: Study, journal: Path) -> None:
        values = [3.5, 8.0][: len(learned.search.metrics)]
        trial = self._recorded(
            learned, journal, Outcome(values, attributes={"configuration": "0a1b", "seed 0: x": 1.5})
        )
        assert (trial.user_attrs["configuration"], trial.user_attrs["seed 0: x"]) == ("0a1b", 1.5)

    def test_points_that_a_study_names_come_first(self, learned: Study, journal: Path) -> None:
        points = "[{learning_rate: 0.5, masks_per_step: 2, estimator: tracked, alpha: 0.9}, defaults]"
        study = self._study(self._ranges.replace("[0.1, 10]", "[0.1, 100]"), points=points)
        made = [proposal.configuration for proposal in self._run(self.make(study, journal), study)]
        named = {"learning_rate": 0.5, "masks_per_step": 2, "estimator": "tracked", "alpha": 0.9}
        assert named.items() <= made[0].items()
        defaults = {"learning_rate": 50.0, "masks_per_step": 1, "estimator": "tracked", "alpha": 0.99}
        assert defaults.items() <= made[1].items()
        assert len(made) == SAMPLES
        assert all(one not in made[:number] for number, one in enumerate(made))

    def test_points_come_once_also_in_a_later_process(self, learned: Study, journal: Path) -> None:
        alpha = "" if self.takes_conditions else ", alpha: 0.9"
        points = f"[{{learning_rate: 0.5, masks_per_step: 2, estimator: vanilla{alpha}}}]"
        study = self._study(self._ranges, points=points)
        made = [proposal for _, proposal in zip(range(2), self._run(self.make(study, journal), study), strict=False)]
        rest = list(self._run(self.make(study, journal), study))
        rates = [proposal.configuration["learning_rate"] for proposal in made + rest]
        assert (rates[0], rates.count(0.5), len(rates)) == (0.5, 1, SAMPLES)

    def _run(self, strategy: SearchStrategy, study: Study) -> Iterator[Proposal]:
        """Run a search to its end; the outcome of each proposal is passed on before the next one is requested."""
        while (proposal := strategy.next()) is not None:
            strategy.tell(proposal.number, self._outcome(proposal, study))
            yield proposal

    def _two_at_a_time(
        self, strategy: SearchStrategy, study: Study, *, cut: int | None, open_ones: Sequence[Proposal] = ()
    ) -> Iterator[Proposal]:
        """Run a search with two open proposals, of which the older gets its outcome; end after ``cut`` new ones."""
        waiting, made = list(open_ones), 0
        while made != cut:
            if len(waiting) == 2:
                oldest = waiting.pop(0)
                strategy.tell(oldest.number, self._outcome(oldest, study))
            proposal = strategy.next()
            if proposal is None:
                return
            waiting.append(proposal)
            made += 1
            yield proposal

    def _outcome(self, proposal: Proposal, study: Study) -> Outcome:
        """Return an invented outcome that depends on the configuration alone."""
        rate = float(proposal.configuration.get("learning_rate") or 1.0)
        both: Sequence[float] = [abs(math.log(rate)) + proposal.number % 3, rate]
        constraints = {each.metric: rate - 1.0 for each in study.search.all_constraints}
        return Outcome(both[: len(study.search.metrics)], intermediate={1: 9.0}, constraints=constraints)

    def _recorded(self, study: Study, journal: Path, outcome: Outcome) -> Any:
        """Pass on one outcome, and return the Optuna trial that another process reads of it."""
        strategy = self.make(study, journal)
        proposal = strategy.next()
        assert proposal is not None
        strategy.tell(proposal.number, outcome)
        return _trials(study, journal)[proposal.number]


def _trials(study: Study, journal: Path) -> list[Any]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return list(optuna.load_study(study_name=study.name, storage=storage).trials)
