"""Which hyperparameters decided whether a configuration was good, by PED-ANOVA.

Source: Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
Subspaces", IJCAI 2023, as implemented in Optuna, on an in-memory study rebuilt from the recorded rows. Seeds are
replicates, so a configuration is one trial whose value is its mean.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from nmlab.reports.configurations import Configuration, searched, varying
from nmlab.reports.figures.style import INK, SERIES, SETTINGS, FigureFile, new_figure, saved, wants_log
from nmlab.reports.frame import Value
from nmlab.reports.metrics import plain_name

KEY, TITLE = "importance", "Hyperparameter importance"
FEWEST_CONFIGURATIONS = 8
WANTED_IN_TARGET = 5  # Optuna's advice for a stable estimate
LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class ImportanceInfo:
    """Shares that sum to one, largest first, or the reason why there are none.

    ``quantile`` is the best share of configurations that "good" stands for.
    """

    metric: str
    shares: tuple[tuple[str, float], ...]
    configurations: int
    quantile: float
    log_scaled: tuple[str, ...]
    skipped: str = ""


def importance_info(configurations: Sequence[Configuration]) -> ImportanceInfo:
    """Compute the importance of every setting that varies between the searched configurations with a mean."""
    tried = [item for item in searched(configurations) if item.value is not None]
    metric = configurations[0].objective.metric
    names = importance_names(tried)
    reason = _reason_to_skip(len(tried), names)
    if reason:
        return ImportanceInfo(metric, (), len(tried), 0.0, (), skipped=reason)
    space = {name: distribution([_setting(item, name) for item in tried]) for name in names}
    quantile = min(0.5, max(0.1, WANTED_IN_TARGET / len(tried)))
    shares = get_param_importances(
        _study(tried, space), evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile)
    )
    logs = tuple(name for name, kind in space.items() if getattr(kind, "log", False))
    ordered = tuple(sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])))
    if not all(math.isfinite(share) for _, share in ordered):
        return ImportanceInfo(metric, (), len(tried), quantile, logs, skipped="no setting made any difference")
    return ImportanceInfo(metric, ordered, len(tried), quantile, logs)


def draw_importance(info: ImportanceInfo) -> FigureFile:
    """Draw the shares as bars with their values."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    names = [name for name, _ in info.shares]
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(0.9 + 0.34 * len(names))
        axes = figure.add_subplot()
        bars = axes.barh(range(len(names)), [share for _, share in info.shares], height=0.62, color=SERIES[0])
        axes.bar_label(bars, [f"{share:.2f}" for _, share in info.shares], padding=4, color=INK)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.08 * max(share for _, share in info.shares))
        axes.set_xlabel("share of importance")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.grid(True)
        axes.set_axisbelow(True)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def importance_names(tried: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the settings that vary, with ``method`` and ``pattern`` where these were searched."""
    attributes = [name for name in ("method", "pattern") if len({getattr(item, name) for item in tried}) > 1]
    return (*attributes, *varying(tried))


def distribution(values: Sequence[Value | None]) -> BaseDistribution:
    """Return the Optuna distribution that the observed values of one setting span.

    Numbers that spread over a factor of 20 or more count on a log scale; text is categorical.
    """
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        return CategoricalDistribution(sorted({str(value) for value in present}))
    numbers = [value for value in present if not isinstance(value, str)]
    log = wants_log([float(number) for number in numbers], ratio=LOG_RATIO)
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)), log=log)
    return FloatDistribution(float(min(numbers)), float(max(numbers)), log=log)


def _reason_to_skip(configurations: int, names: Sequence[str]) -> str:
    if len(names) < 2:
        varied = f"only {names[0]} varied" if names else "nothing varied"
        return f"{varied} between the configurations; importance compares at least two hyperparameters"
    if configurations < FEWEST_CONFIGURATIONS:
        return (
            f"{configurations} configurations have a finished run; "
            f"importance needs at least {FEWEST_CONFIGURATIONS} to mean anything"
        )
    return ""


def _study(tried: Sequence[Configuration], space: dict[str, BaseDistribution]) -> optuna.Study:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        direction = "minimize" if tried[0].objective.mode == "min" else "maximize"
        study = optuna.create_study(direction=direction)
    finally:
        optuna.logging.set_verbosity(before)
    for item in tried:
        own = {name: _setting(item, name) for name in space}
        params = {name: value for name, value in own.items() if value is not None}
        value = item.value
        assert value is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions={name: space[name] for name in params}, value=value.mean
                )
            )
    return study


def _setting(item: Configuration, name: str) -> Value | None:
    if name in ("method", "pattern"):
        return str(getattr(item, name))
    return item.settings.get(name)


def _caption(info: ImportanceInfo) -> str:
    text = (
        f"PED-ANOVA over {info.configurations} configurations (mean over seeds): how much each hyperparameter "
        f"decides whether {plain_name(info.metric)} is among the best {100 * info.quantile:.0f}%. Shares sum to one; "
        "with this few configurations they are a rough guide."
        if info.configurations < 50
        else f"PED-ANOVA over {info.configurations} configurations (mean over seeds), best "
        f"{100 * info.quantile:.0f}% of {plain_name(info.metric)}. Shares sum to one."
    )
    return text + (f" On a log scale: {', '.join(info.log_scaled)}." if info.log_scaled else "")
