"""The search of a launch whose space was changed: an Optuna study that goes on from what an earlier one was earlier.

Optuna refuses other choices under a name that it knows. So a changed space gets a study of its own in the same journal,
``NAME#VERSION``, which is fed once with every configuration of its predecessors that lies in the new space: its state,
values and intermediate values. A configuration outside of the new space counts as tried, the new study does not learn
of it, and one that is not over is carried to its end and told to the study that proposed it.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from nmlab.platform.search.changed_space import full_values
from nmlab.platform.search.placement import Placement, placed
from nmlab.platform.search.strategies import OptunaStrategy, strategy_of
from nmlab.platform.search.strategy_protocol import Outcome, Proposal, SearchStrategy
from nmlab.platform.search.warm_start import COLD, WarmStart
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration
from nmlab.trials.contract.log_levels import at_least

_CONFIGURATION = "nmlab:configuration"
_SOURCE, _IS_FED = "nmlab:fed from", "nmlab:is fed"
_OWN_ATTRIBUTES = ("fixed_params",)
"""System attributes that Optuna sets for the trial that it proposes, not for its result."""
_quiet = partial(at_least, logging.ERROR, "optuna")


def extended_strategy(
    study: Study, *, earlier: Sequence[Study], journal: Path, warm: WarmStart = COLD
) -> SearchStrategy:
    """Return the search strategy of a launch, given the earlier versions of its study, oldest first.

    ``warm`` is what its first search started from; a study for a changed space is told what of it lies in that space.
    """
    names = _studies_of(study, earlier)
    if study.search.algorithm == "grid" or len(names) == 1:
        return strategy_of(study, journal=journal, warm=warm)
    return SuccessorStrategy(names, journal=journal, warm=warm)


class SuccessorStrategy:
    """The newest Optuna study of a launch, beside those that it goes on from.

    Args:
        studies: the name of each Optuna study, oldest first, with the version of the study that is its space.
        journal: Optuna's journal, which holds all of them.
        warm: outcomes of earlier launches.
    """

    def __init__(self, studies: Mapping[str, Study], *, journal: Path, warm: WarmStart = COLD) -> None:
        *names, newest = studies
        past = _past([OptunaStrategy(studies[name], journal=journal, name=name) for name in names])
        study = studies[newest]
        placed = {place: found for place, earlier in past.items() if (found := _placed(study, earlier)) is not None}
        outside_of_space = [earlier for place, earlier in past.items() if place not in placed]
        self._newest = OptunaStrategy(
            study, journal=journal, name=newest, tried_before=len(outside_of_space), warm=warm
        )
        _feed(self._newest.optuna_study, list(placed.values()))
        self._outside_of_space = outside_of_space

    def open(self) -> list[Proposal]:
        """Return the proposals without an outcome; those outside of the new space have numbers below zero."""
        return [*self._newest.open(), *self._left(TrialState.RUNNING)]

    def failed(self) -> list[Proposal]:
        return [*self._newest.failed(), *self._left(TrialState.FAIL)]

    def next(self) -> Proposal | None:
        return self._newest.next()

    def tell(self, number: int, outcome: Outcome) -> None:
        if number >= 0:
            self._newest.tell(number, outcome)
        else:
            earlier = self._outside_of_space[-1 - number]
            earlier.strategy.tell(earlier.trial.number, outcome)

    def _left(self, state: TrialState) -> list[Proposal]:
        return [
            Proposal(-1 - place, earlier.configuration)
            for place, earlier in enumerate(self._outside_of_space)
            if earlier.trial.state == state
        ]


@dataclass(frozen=True)
class _EarlierTrial:
    """A configuration of an earlier study, and what that study was told of it."""

    strategy: OptunaStrategy
    trial: FrozenTrial

    @property
    def configuration(self) -> Configuration:
        found: Configuration = self.trial.user_attrs[_CONFIGURATION]
        return found

    @property
    def values(self) -> dict[str, Any]:
        return full_values(self.strategy.study, self.configuration)


@dataclass(frozen=True)
class _Placed:
    """A configuration of an earlier study in the new space: its parameters there, and what it becomes."""

    earlier: _EarlierTrial
    point: Placement

    @property
    def source(self) -> str:
        return f"{self.earlier.strategy.name}:{self.earlier.trial.number}"

    def trial(self) -> FrozenTrial:
        """Return the trial as the new study gets it."""
        frozen = self.earlier.trial
        own = {name: value for name, value in frozen.system_attrs.items() if name not in _OWN_ATTRIBUTES}
        return create_trial(
            state=frozen.state,
            values=frozen.values,
            params=dict(self.point.parameters),
            distributions=dict(self.point.distributions),
            user_attrs={**frozen.user_attrs, _CONFIGURATION: self.point.configuration, _SOURCE: self.source},
            system_attrs=own,
            intermediate_values=frozen.intermediate_values,
        )


def _studies_of(study: Study, earlier: Sequence[Study]) -> dict[str, Study]:
    """Return the Optuna studies of a launch, oldest first: one for each space, with the newest version that has it."""
    found: dict[str, Study] = {}
    name = study.name
    for number, version in enumerate((*earlier, study), start=1):
        if found and version.space != found[name].space:
            name = f"{study.name}#{number}"
        found[name] = version
    return found


def _past(strategies: Sequence[OptunaStrategy]) -> dict[str, _EarlierTrial]:
    """Return the outcomes told to earlier Optuna studies, by configuration; a later study replaces an earlier one."""
    past: dict[str, _EarlierTrial] = {}
    for strategy in strategies:
        strategy.open()  # closes what a process that died had not made a configuration of
        for trial in strategy.tried:
            earlier = _EarlierTrial(strategy, trial)
            past[json.dumps(earlier.values, sort_keys=True)] = earlier
    return past


def _placed(study: Study, earlier: _EarlierTrial) -> _Placed | None:
    """Return a configuration in another space; None if no point of that space gives the same trials."""
    point = placed(study, earlier.values)
    return None if point is None else _Placed(earlier, point)


@_quiet()
def _feed(study: optuna.Study, placed: Sequence[_Placed]) -> None:
    """Give a new study what its predecessors were told, once; a process that was killed meanwhile is taken up.

    What ran in a predecessor runs in the new study from then on, and is closed in the predecessor.
    """
    if not study.user_attrs.get(_IS_FED):
        held = {trial.user_attrs.get(_SOURCE) for trial in study.get_trials(deepcopy=False)}
        for each in placed:
            if each.source not in held:
                study.add_trial(each.trial())
        study.set_user_attr(_IS_FED, True)
    for each in placed:
        if each.earlier.trial.state == TrialState.RUNNING:
            each.earlier.strategy.optuna_study.tell(each.earlier.trial.number, state=TrialState.FAIL)
