"""Selects the configurations of a study for the sides of a claim, among the values that it planned to run."""

import math
from collections.abc import Iterable, Mapping, Sequence

from nmlab.reports.analysis.claims.claim import EXTREMES, Selector
from nmlab.reports.analysis.configurations import Configuration, evaluation_setting
from nmlab.reports.analysis.metrics import direction_of, is_counted, selection_metric
from nmlab.reports.analysis.pairwise import Side, selected_side
from nmlab.reports.analysis.pairwise.partial import at_the_end
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import Direction, counted
from nmlab.search_spaces.reading import study_yaml
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.trials.contract import run_params
from nmlab.trials.contract.run_status import TrialStatus

PlannedValues = Mapping[str, Sequence[Value]]
LISTED = (".grid", ".choice")


class NotTestableError(Exception):
    """The study did not run what the claim needs; the message says what is missing.

    ``ran_in_part`` is set where something ran, but not to the end.
    """

    def __init__(self, message: str, *, ran_in_part: bool = False) -> None:
        super().__init__(message)
        self.ran_in_part = ran_in_part


def chosen(
    selector: Selector,
    *,
    configurations: Sequence[Configuration],
    metric: str,
    planned_values: PlannedValues | None = None,
) -> Side:
    """Return the best complete configuration that matches a selector, or one of which every run diverged.

    Where the search selects on validation text, that text tells which is the best. A configuration that breaks a
    constraint of the search is never chosen.

    Args:
        selector: of one side of a claim.
        configurations: of one launch.
        metric: what is compared.
        planned_values: the values of each setting that the study planned to run, where they are known.

    Raises:
        NotTestableError: nothing matches, no match is complete, all that are break a constraint of the search, or an
            incomplete match looks better.
    """
    fitting = fitting_of(selector, configurations=configurations, planned_values=planned_values)
    if not fitting:
        raise NotTestableError(f"{selector.text} was not run")
    whole = [item for item in fitting if is_whole(item, metric=metric)]
    if complete := [Side(item) for item in whole if not item.breaks_constraint]:
        best = selected_side(complete, metric=metric) or complete[0]
        _refuse_better_but_incomplete(fitting, best=best, metric=metric, name=selector.text)
        return best
    if whole:
        raise NotTestableError(
            f"{selector.text} breaks a constraint of the search wherever it finished", ran_in_part=True
        )
    diverged = [item for item in fitting if has_diverged(item)]
    if len(diverged) == len(fitting):
        return Side(diverged[0])
    text = f"{selector.text} has no configuration of which every seed finished with {metric}"
    raise NotTestableError(text, ran_in_part=True)


def is_whole(item: Configuration, *, metric: str) -> bool:
    """Return whether every run that a configuration should have finished with a finite value of a metric."""
    return item.is_complete and len(Side(item).values(metric)) == len(item.finished)


def selected_from(
    selector: Selector,
    *,
    configurations: Sequence[Configuration],
    metric: str,
    planned_values: PlannedValues | None = None,
) -> int:
    """Return the number of configurations that a side was selected from; 1 for counted metrics."""
    fitting = fitting_of(selector, configurations=configurations, planned_values=planned_values)
    return 1 if is_counted(metric) else max(1, len(fitting))


def fitting_of(
    selector: Selector, *, configurations: Sequence[Configuration], planned_values: PlannedValues | None = None
) -> list[Configuration]:
    """Return the configurations that match a selector.

    Raises:
        NotTestableError: it asks for the largest or smallest value of a setting that has only one.
    """
    return [
        item
        for item in configurations
        if _fits(item, selector, configurations=configurations, planned_values=planned_values)
    ]


def _fits(
    item: Configuration,
    selector: Selector,
    *,
    configurations: Sequence[Configuration],
    planned_values: PlannedValues | None,
) -> bool:
    if item.method != selector.method or (selector.pattern is not None and item.pattern != selector.pattern):
        return False
    return all(
        _same(
            item.settings.get(name),
            _wanted(value, name=name, like=item, among=configurations, planned_values=planned_values),
        )
        for name, value in selector.settings.items()
    )


def values_of(
    setting: str,
    *,
    method: str,
    configurations: Iterable[Configuration],
    planned_values: PlannedValues | None = None,
    claimed: Iterable[Value] = (),
) -> tuple[Value, ...]:
    """Return the values of a setting that a method was run with, that were planned or are claimed, in order."""
    found = [item.settings[setting] for item in configurations if item.method == method and setting in item.settings]
    every = [*found, *((planned_values or {}).get(setting, ()) if found else ()), *claimed]
    apart: list[Value] = []
    for value in every:
        if not any(_same(value, other) for other in apart):
            apart.append(value)
    return tuple(sorted(apart, key=lambda value: (isinstance(value, str), value)))


def has_diverged(item: Configuration) -> bool:
    """Return whether every run of a configuration left the finite numbers."""
    return item.count(TrialStatus.DIVERGED) == item.runs_in_all > 0


def require_same_evaluation(sides: Iterable[Side]) -> None:
    """Refuse sides that were not evaluated alike.

    Raises:
        NotTestableError: the sides differ in model or evaluation text.
    """
    if len({evaluation_setting(side.item) for side in sides}) > 1:
        raise NotTestableError("the sides were not evaluated with the same model and text")


def _refuse_better_but_incomplete(fitting: Sequence[Configuration], *, best: Side, metric: str, name: str) -> None:
    """Refuse a side if, by the selecting metric, a configuration that lacks runs looks better than the best."""
    by = selection_metric(metric, objective=best.item.objective)
    sign = 1.0 if direction_of(by, objective=best.item.objective) is Direction.HIGHER else -1.0
    for item in fitting:
        if is_whole(item, metric=metric) or best.item is item or item.breaks_constraint:
            continue
        apart = at_the_end(item, best=best.item, metric=by).difference
        if not math.isnan(apart) and sign * apart > 0:
            runs = f"{len(Side(item).values(metric))} of {counted(item.runs_in_all, noun='run')}"
            raise NotTestableError(f"{name}: {item.key} looks better but has only {runs}", ran_in_part=True)


def _wanted(
    value: Value,
    *,
    name: str,
    like: Configuration,
    among: Sequence[Configuration],
    planned_values: PlannedValues | None,
) -> Value:
    """Return the value that ``largest`` or ``smallest`` means for one method and pattern, planned or run.

    Raises:
        NotTestableError: the setting has a single value there, so that it has no extremes.
    """
    if value not in EXTREMES:
        return value
    peers = [other for other in among if other.pattern == like.pattern]
    values = values_of(name, method=like.method, configurations=peers, planned_values=planned_values)
    if len(values) < 2:
        raise NotTestableError(f"{name} was not varied")
    return values[-1] if value == "largest" else values[0]


def _same(own: Value | None, wanted: Value) -> bool:
    if own is None:
        return False
    if isinstance(own, str) or isinstance(wanted, str | bool):
        return str(own).lower() == str(wanted).lower()
    return float(own) == float(wanted)


def planned_values_of(params: Mapping[str, str]) -> dict[str, Sequence[Value]]:
    """Return the planned values by setting, as far as they are listed; a range of numbers lists none.

    Args:
        params: of the launch, such as ``space.alpha.grid: "[0.9, 0.99]"``.
    """
    found: dict[str, Sequence[Value]] = {}
    for name, text in params.items():
        kind = next((kind for kind in LISTED if name.endswith(kind)), None)
        if kind is not None:
            found[name.removesuffix(kind).removeprefix(run_params.SPACE)] = _values(text)
    return found


def _values(text: str) -> tuple[Value, ...]:
    """Return the values of a list that was written as text; empty for text that is cut off."""
    try:
        listed = study_yaml.parse(text, source="parameter")
    except StudyError:
        return ()
    return tuple(item for item in listed if isinstance(item, int | float | str)) if isinstance(listed, list) else ()
