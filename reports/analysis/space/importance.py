"""Hyperparameter importance by PED-ANOVA, with its uncertainty: which hyperparameters decided what was good.

Source: Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
Subspaces", IJCAI 2023, as implemented in Optuna, on an in-memory study rebuilt from the recorded rows. Seeds are
replicates, so a configuration is one trial whose value is its mean.
"""

import logging
import math
import warnings
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.settings import distinguishing, setting_of
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import wants_log
from nmlab.trials.contract.log_levels import at_least

FEWEST_CONFIGURATIONS = 8
WANTED_IN_TARGET = 5  # Optuna's advice for a stable estimate
RESAMPLES, FEWEST_RESAMPLES = 100, 20
MOST_FITTED = 40_000
"""Configurations of all resamples together: the shares of very many vary little, so fewer resamples of them do."""
LEVEL = 0.95
MOST_GRID_VALUES = 6
LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class Share:
    """The importance of one setting, and its 95% interval over resamples of the configurations (percentiles)."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares that sum to one, largest first, or the reason why there are none.

    ``quantile`` is the best share of configurations that "good" stands for, ``resamples`` the number of fits behind
    the intervals.
    """

    metric: str
    shares: tuple[Share, ...]
    configurations: int
    quantile: float
    log_scaled: tuple[str, ...]
    resamples: int = 0
    skipped: str = ""


def importance_of(configurations: Sequence[Configuration]) -> Importance:
    """Compute the importance of every setting that varies between the searched configurations with a mean.

    The estimate is unstable with few configurations, so every share has an interval: the bootstrap's, over
    configurations drawn with replacement. The draws are the same in every report of the same configurations.
    """
    tried = [item for item in searched(configurations) if item.selection is not None]
    metric = configurations[0].objective.metric
    names = distinguishing(tried)
    reason = _reason_to_skip(len(tried), names)
    if reason:
        return Importance(metric, (), len(tried), 0.0, (), skipped=reason)
    space = {name: distribution([setting_of(item, name=name) for item in tried]) for name in names}
    quantile = min(0.5, max(0.1, WANTED_IN_TARGET / len(tried)))
    logs = tuple(name for name, kind in space.items() if getattr(kind, "log", False))
    draws = _Draws(tried, space)
    values = draws.shares_of(tried, quantile=quantile)
    if not all(map(math.isfinite, values.values())):
        return Importance(metric, (), len(tried), quantile, logs, skipped="no setting made any difference")
    fits = [draws.shares_of(items, quantile=quantile) for items in _resamples(tried)]
    shares = [_share(name, values[name], fits) for name in names]
    ordered = tuple(sorted(shares, key=lambda share: (-share.value, share.name)))
    return Importance(metric, ordered, len(tried), quantile, logs, resamples=len(fits))


def distribution(values: Sequence[Value | None]) -> BaseDistribution:
    """Return the Optuna distribution spanned by the observed values of one setting.

    Text is categorical, and so are a few numbers that repeat (a grid). Other numbers that
    spread over a factor of 20 or more count on a log scale.
    """
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        return CategoricalDistribution(sorted({str(value) for value in present}))
    numbers = [value for value in present if not isinstance(value, str)]
    if len(set(numbers)) <= min(MOST_GRID_VALUES, len(numbers) // 2):
        return CategoricalDistribution(sorted(set(numbers)))
    log = wants_log([float(number) for number in numbers], ratio=LOG_RATIO)
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)), log=log)
    return FloatDistribution(float(min(numbers)), float(max(numbers)), log=log)


def _reason_to_skip(configurations: int, names: Sequence[str]) -> str:
    if len(names) < 2:
        varied = f"only {names[0]} varied" if names else "nothing varied"
        return f"{varied} between the configurations; importance compares at least two hyperparameters"
    if configurations < FEWEST_CONFIGURATIONS:
        return f"{configurations} configurations have a finished run; importance needs at least {FEWEST_CONFIGURATIONS}"
    return ""


def _resamples(tried: Sequence[Configuration]) -> Iterator[list[Configuration]]:
    """Yield draws of as many configurations, with replacement, in an order that does not depend on the report's."""
    count = max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_FITTED // len(tried)))
    ordered = sorted(tried, key=lambda item: item.key)
    random = Random(0)
    for _ in range(count):
        yield random.choices(ordered, k=len(ordered))


def _share(name: str, value: float, fits: Sequence[dict[str, float]]) -> Share:
    """Return a share with its interval; resamples in which nothing made a difference have no share and do not count."""
    found = [fit[name] for fit in fits if math.isfinite(fit[name])]
    if not found:
        return Share(name, value, value, value)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Share(name, value, min(value, float(low)), max(value, float(high)))


class _Draws:
    """The shares of importance in draws of configurations.

    Every configuration is written into a study once: a trial of its own for each time that it is drawn would take most
    of the time of a large report.
    """

    def __init__(self, tried: Sequence[Configuration], space: dict[str, BaseDistribution]) -> None:
        self.names = tuple(space)
        self.storage = _StorageOfDraws()
        direction = StudyDirection.MINIMIZE if tried[0].objective.mode == "min" else StudyDirection.MAXIMIZE
        with at_least(logging.WARNING, "optuna"):
            self.study = optuna.create_study(storage=self.storage, direction=direction)
        self.study.add_trials([_trial(item, space) for item in tried])
        trials = self.study.get_trials(deepcopy=False)
        self.trials = {item.key: trial for item, trial in zip(tried, trials, strict=True)}

    def shares_of(self, items: Sequence[Configuration], *, quantile: float) -> dict[str, float]:
        """Return the share of each setting; ``items`` may hold a configuration several times."""
        self.storage.drawn = [self.trials[item.key] for item in items]
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a resample in which all are equally good
            found = get_param_importances(self.study, evaluator=evaluator)
        return {name: float(found.get(name, 0.0)) for name in self.names}


class _StorageOfDraws(InMemoryStorage):
    """A storage whose studies consist of the trials that were drawn, once there is a draw."""

    drawn: list[FrozenTrial] | None = None

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the draw, in which all trials are finished ones."""
        return super().get_all_trials(study_id, deepcopy, states) if self.drawn is None else self.drawn


def _trial(item: Configuration, space: dict[str, BaseDistribution]) -> FrozenTrial:
    """Return a configuration as a finished Optuna trial with the settings that it has."""
    own = {name: setting_of(item, name=name) for name in space}
    params = {name: value for name, value in own.items() if value is not None}
    value = item.selection
    assert value is not None
    kinds = {name: space[name] for name in params}
    return optuna.trial.create_trial(params=params, distributions=kinds, value=value.mean)
