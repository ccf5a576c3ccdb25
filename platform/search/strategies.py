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
from optuna.trial import TrialState, create_trial

from nmlab.platform.compat.optuna_trials import open_trial
from nmlab.platform.records.payloads import KnownOutcomeRecord
from nmlab.platform.search.grid import GridStrategy
from nmlab.platform.search.initial_points import (
    Given,
    RandomDraw,
    configurations_tried,
    initial_points,
)
from nmlab.platform.search.optuna_journal import OptunaJournalFile
from nmlab.platform.search.placement import Placement, placed
from nmlab.platform.search.samplers import SAMPLERS, first_points, sampler_of
from nmlab.platform.search.samplers.qmc import quasi_random_point
from nmlab.platform.search.strategy_protocol import Outcome, Proposal, SearchStrategy
from nmlab.platform.search.warm_start import COLD, WARM_STARTED_FROM, WarmStart, outcome_from
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun
from nmlab.trials.contract.log_levels import at_least

_log = logging.getLogger(__name__)
_CONFIGURATION = "nmlab:configuration"
_IS_WARM_STARTED = "nmlab:is warm started"
_REPEATS = 10
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_quiet = partial(at_least, logging.ERROR, "optuna")
"""Around every call of Optuna: its report of each trial is not shown, and other users of Optuna keep theirs."""


class OptunaStrategy:
    """An Optuna study in a journal file; a later process that opens the file continues the study.

    Args:
        study: what is searched, and how.
        journal: the file.
        name: of the Optuna study in it; by default that of ``study``.
        tried_before: configurations that count as tried and are not in the Optuna study.
        warm: outcomes of earlier launches, which it is told once and which do not count as tried, and further points.
    """

    @_quiet()
    def __init__(
        self, study: Study, *, journal: Path, name: str | None = None, tried_before: int = 0, warm: WarmStart = COLD
    ) -> None:
        self.study, self.name, self._tried_before = study, name or study.name, tried_before
        self._space = DefineByRun(study)
        self._configurations = configurations_tried(study)
        self._search = study.search
        self._first = [*initial_points(study), *warm.points_in(study)]
        self._optuna = optuna.create_study(
            study_name=self.name,
            storage=JournalStorage(OptunaJournalFile(str(journal))),
            directions=[_DIRECTIONS[mode] for mode in study.search.modes],
            load_if_exists=True,
        )
        if self._optuna.metric_names is None:
            with warnings.catch_warnings():  # it is experimental
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._optuna.set_metric_names(list(study.search.metrics))
        self._tell_known_outcomes(warm)

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
        if self._tried_before + len(known) >= self._configurations:
            return None
        for attempt in range(_REPEATS + 1):
            self._enqueue(self._untried(known) if attempt == _REPEATS else self._settled(known))
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
        for name, attribute in outcome.attributes.items():
            trial.set_user_attr(name, attribute)
        values = [*(outcome.values or [math.nan]), *outcome.constraints.values()]
        finite = all(map(math.isfinite, values))
        if outcome.pruned and len(self._search.metrics) == 1 and outcome.intermediate:
            self._optuna.tell(number, state=TrialState.PRUNED)
        elif finite and not outcome.pruned:
            for name, excess in outcome.constraints.items():
                if name not in known.constraints:
                    trial.set_constraint(name, excess)
            self._optuna.tell(number, list(outcome.values or ()))
        else:
            self._optuna.tell(number, state=TrialState.FAIL)

    @property
    def optuna_study(self) -> optuna.Study:
        """The Optuna study."""
        return self._optuna

    @property
    def tried(self) -> list[optuna.trial.FrozenTrial]:
        """The trials of the Optuna study that are configurations."""
        return self._counted()

    def _tell_known_outcomes(self, warm: WarmStart) -> None:
        """Tell the study what earlier launches found, once; a process that was killed meanwhile is taken up.

        A configuration that lies outside of the space is left out.
        """
        if not warm.known_outcomes or self._optuna.user_attrs.get(_IS_WARM_STARTED):
            return
        held = {_source_of(trial): trial for trial in self._optuna.get_trials(deepcopy=False)}
        for each in warm.known_outcomes:
            trial, point = held.get((each["launch"], each["configuration"])), placed(self.study, each["settings"])
            if trial is None and point is not None:
                self.tell(self._add(each, point), outcome_from(each))
            elif trial is not None and not trial.state.is_finished():
                self.tell(trial.number, outcome_from(each))
        self._optuna.set_user_attr(_IS_WARM_STARTED, True)

    def _add(self, known: KnownOutcomeRecord, point: Placement) -> int:
        """Add a configuration of an earlier launch that has no outcome yet; return its number."""
        number = len(self._optuna.get_trials(deepcopy=False))
        self._optuna.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(point.parameters),
                distributions=dict(point.distributions),
                user_attrs={WARM_STARTED_FROM: known["launch"], "configuration": known["configuration"]},
            )
        )
        return number

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        """Return the proposals that became trials; repeated points and interrupted asks have no configuration."""
        return [trial for trial in self._optuna.get_trials(deepcopy=False) if _CONFIGURATION in trial.user_attrs]

    def _settled(self, known: list[Configuration]) -> Configuration | None:
        """Return the next point if it is settled without the sampler; None if the sampler draws it."""
        for point in self._first:
            if self._space(Given(point)) not in known:
                return point
        if not self._is_quasi_random():
            return None
        trials = self._optuna.get_trials(deepcopy=False)
        from_earlier = sum(WARM_STARTED_FROM in trial.user_attrs for trial in trials)
        place = len(trials) - from_earlier - len(self._first)
        return quasi_random_point(self.study, place=max(0, place))

    def _is_quasi_random(self) -> bool:
        """Return whether the next point comes from the Sobol sequence: always, or until there are enough outcomes."""
        if self._search.algorithm == "qmc":
            return True
        if self._search.startup != "qmc":
            return False
        states = SAMPLERS[self._search.algorithm].learns_from
        outcomes = self._optuna.get_trials(deepcopy=False, states=states)
        return len(outcomes) < first_points(self._search, configurations=self._configurations)

    def _enqueue(self, point: Configuration | None) -> None:
        """Have Optuna propose a point next; a point that a process enqueued before it died comes first."""
        if point is not None and not self._optuna.get_trials(deepcopy=False, states=[TrialState.WAITING]):
            self._optuna.enqueue_trial(point)

    def _ask(self) -> optuna.trial.Trial:
        number = len(self._optuna.get_trials(deepcopy=False))
        self._optuna.sampler = sampler_of(self._search, number=number, configurations=self._configurations)
        return self._optuna.ask()

    def _untried(self, known: list[Configuration]) -> Configuration:
        """Draw a point that is not known; there is one, because no more are tried than the space has."""
        for seed in count(len(self._optuna.get_trials(deepcopy=False)) * 100_003):
            draw = RandomDraw(seed)
            if self._space(draw) not in known:
                return draw.drawn
        raise AssertionError("counting has no end")


def _source_of(trial: optuna.trial.FrozenTrial) -> tuple[object, object]:
    """Return the earlier launch and the configuration that a trial of an Optuna study is."""
    return trial.user_attrs.get(WARM_STARTED_FROM), trial.user_attrs.get("configuration")


def strategy_of(study: Study, *, journal: Path, warm: WarmStart = COLD) -> SearchStrategy:
    """Return the search strategy that a study names."""
    if study.search.algorithm == "grid":
        return GridStrategy(study)
    return OptunaStrategy(study, journal=journal, warm=warm)
