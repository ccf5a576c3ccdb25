"""Search strategies: where configurations come from, either the points of a grid or an Optuna study.

Optuna gets every outcome as what it is: COMPLETE with its objectives, PRUNED with its intermediate values if it was
stopped early, FAIL if it diverged or failed. No configuration that has ended is left RUNNING.
"""

import logging
import math
import warnings
from functools import partial
from itertools import count
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nmlab.platform.compat.optuna_trials import open_trial
from nmlab.platform.search.grid import GridStrategy
from nmlab.platform.search.initial_points import (
    Given,
    RandomDraw,
    configurations_tried,
    initial_points,
)
from nmlab.platform.search.optuna_journal import OptunaJournalFile
from nmlab.platform.search.proposals import Outcome, Proposal, SearchStrategy
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun
from nmlab.trials.contract.log_levels import at_least

_log = logging.getLogger(__name__)
_CONFIGURATION = "nmlab:configuration"
_REPEATS = 10
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_quiet = partial(at_least, logging.ERROR, "optuna")
"""Around every call of Optuna: its report of each trial is not shown, and other users of Optuna keep theirs."""


class OptunaStrategy:
    """An Optuna study in a journal file; a later process that opens the file continues the study."""

    @_quiet()
    def __init__(self, study: Study, *, journal: Path) -> None:
        self._space = DefineByRun(study)
        self._configurations = configurations_tried(study)
        self._search = study.search
        self._first = initial_points(study)
        directions = [_DIRECTIONS[mode] for mode in study.search.modes]
        self._optuna = optuna.create_study(
            study_name=study.name,
            storage=JournalStorage(OptunaJournalFile(str(journal))),
            directions=directions,
            load_if_exists=True,
        )

    @_quiet()
    def open(self) -> list[Proposal]:
        proposals = []
        for trial in self._optuna.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if _CONFIGURATION in trial.user_attrs:
                proposals.append(Proposal(trial.number, trial.user_attrs[_CONFIGURATION]))
            else:  # the process died before it recorded the configuration
                self._optuna.tell(trial.number, state=TrialState.FAIL)
        return proposals

    def failed(self) -> list[Proposal]:
        return [
            Proposal(trial.number, trial.user_attrs[_CONFIGURATION])
            for trial in self._counted()
            if trial.state == TrialState.FAIL
        ]

    @_quiet()
    def next(self) -> Proposal | None:
        known = [trial.user_attrs[_CONFIGURATION] for trial in self._counted()]
        if len(known) >= self._configurations:
            return None
        first = next((point for point in self._first if self._space(Given(point)) not in known), None)
        if first is not None:
            self._optuna.enqueue_trial(first)
        for attempt in range(_REPEATS + 1):
            if attempt == _REPEATS:  # the sampler keeps proposing known configurations
                self._optuna.enqueue_trial(self._untried(known))
            trial = self._ask()
            configuration = self._space(trial)
            if configuration not in known:
                trial.set_user_attr(_CONFIGURATION, configuration)
                return Proposal(trial.number, configuration)
            # A repeated point would be the same trials again, so Optuna gets a FAIL.
            _log.debug("proposal %d repeats an earlier point", trial.number)
            self._optuna.tell(trial, state=TrialState.FAIL)
        raise AssertionError("a point that was not tried before turned out to be known")

    @_quiet()
    def tell(self, number: int, outcome: Outcome) -> None:
        known = self._optuna.get_trials(deepcopy=False)[number]
        trial = open_trial(self._optuna, known)
        if len(self._search.metrics) == 1:
            for step, value in sorted(outcome.intermediate.items()):
                # An earlier process may have reported the value.
                if math.isfinite(value) and step not in known.intermediate_values:
                    trial.report(value, step)
        finite = outcome.values is not None and all(math.isfinite(value) for value in outcome.values)
        if outcome.pruned and len(self._search.metrics) == 1 and outcome.intermediate:
            self._optuna.tell(number, state=TrialState.PRUNED)
        elif finite and not outcome.pruned:
            self._optuna.tell(number, list(outcome.values or ()))
        else:
            self._optuna.tell(number, state=TrialState.FAIL)

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        """Return the proposals that became trials; repeated points and interrupted asks have no configuration."""
        return [trial for trial in self._optuna.get_trials(deepcopy=False) if _CONFIGURATION in trial.user_attrs]

    def _ask(self) -> optuna.trial.Trial:
        self._optuna.sampler = self._sampler(len(self._optuna.get_trials(deepcopy=False)))
        return self._optuna.ask()

    def _untried(self, known: list[Configuration]) -> Configuration:
        """Draw a point that is not known; there is one, because no more are tried than the space has."""
        for seed in count(len(self._optuna.get_trials(deepcopy=False)) * 100_003):
            draw = RandomDraw(seed)
            if self._space(draw) not in known:
                return draw.drawn
        raise AssertionError("counting has no end")

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return a sampler seeded by the proposal's number, so that proposals depend on the history alone."""
        seed = self._search.seed * 100_003 + number
        if self._search.algorithm == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self._search.algorithm == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population(self._configurations))
        startup = startup_trials(self._configurations)
        with warnings.catch_warnings():  # both arguments are experimental, and conditional spaces need them
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=startup)


def startup_trials(configurations: int) -> int:
    """Return how many of a search's points are drawn at random, before it has enough outcomes to choose."""
    return min(10, max(4, configurations // 3))


def population(configurations: int) -> int:
    """Return the size of a generation of NSGA-II, of which the first is drawn at random: a quarter, 50 at most.

    A small search has no fewer than TPE draws at random. Optuna's own 50 is more than many searches try, which would
    then never leave the first generation.
    """
    return max(startup_trials(configurations), min(50, configurations // 4))


def strategy_of(study: Study, *, journal: Path) -> SearchStrategy:
    """Return the search strategy that a study names."""
    return GridStrategy(study) if study.search.algorithm == "grid" else OptunaStrategy(study, journal=journal)
