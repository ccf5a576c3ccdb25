"""The kinds of test that decide a claim, each a function from a study's configurations to checks."""

from collections.abc import Iterable
from itertools import pairwise

from nmlab.reports.analysis.claims.better import better_than
from nmlab.reports.analysis.claims.claim import (
    BeatsTest,
    ChoiceTest,
    DominatesTest,
    FlatTest,
    ImprovesTest,
    OrderTest,
    OverlapTest,
    RatioTest,
    Selector,
    Test,
)
from nmlab.reports.analysis.claims.counted import dominates, ratio
from nmlab.reports.analysis.claims.evidence import Absent, Evidence, Part, Parts, part_of, parts_of
from nmlab.reports.analysis.claims.flat import flat
from nmlab.reports.analysis.claims.judge import ClaimCheck
from nmlab.reports.analysis.claims.nearest import overlap
from nmlab.reports.analysis.claims.select import NotTestableError, require_same_evaluation, values_of
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.settings import value_text
from nmlab.trials.contract import run_params
from nmlab.trials.contract.metrics import VALIDATION

UNEVALUATED = "its initial mask was not evaluated"


def checks_of(test: Test, *, evidence: Evidence) -> tuple[ClaimCheck, ...]:
    """Return the checks of any test; evidence that did not run is included as missing checks.

    Raises:
        NotTestableError: the study did not run what every part of the test needs.
    """
    return tuple(_checks(test, evidence))


def _checks(test: Test, evidence: Evidence) -> Iterable[ClaimCheck]:
    match test:
        case OrderTest():
            return _order(test, evidence)
        case BeatsTest():
            return _beats(test, evidence)
        case ChoiceTest():
            return _choice(test, evidence)
        case FlatTest():
            return flat(test, evidence)
        case ImprovesTest():
            return _improves(test, evidence)
        case RatioTest():
            return ratio(test, evidence)
        case DominatesTest():
            return dominates(test, evidence)
        case OverlapTest():
            return overlap(test, evidence)


def _order(test: OrderTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    metric = test.metric or evidence.objective
    parts = parts_of(_by_text(test.sides), evidence=evidence, metric=metric, noun="sides")
    parts.require(2)
    require_same_evaluation(part.side for part in parts.ran)
    yield from parts.missing()
    for first, second in pairwise(parts.ran):
        yield better_than(first, second, metric=metric, evaluations=evidence.evaluations)


def _beats(test: BeatsTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    metric = test.metric or evidence.objective
    side = part_of(test.side, evidence=evidence, metric=metric)
    shorts = _without_pattern(test.others, test.side.pattern)
    parts = parts_of(_by_text(test.others), evidence=evidence, metric=metric, noun="rules", shorts=shorts)
    parts.require(1)
    require_same_evaluation([side.side, *(part.side for part in parts.ran)])
    yield from parts.missing()
    for other in parts.ran:
        yield better_than(side, other, metric=metric, evaluations=evidence.evaluations)


def _choice(test: ChoiceTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    metric = test.metric or evidence.objective
    values = values_of(
        test.setting,
        method=test.method,
        configurations=evidence.configurations,
        planned_values=evidence.planned_values,
        claimed=test.others,
    )
    wanted = Selector(method=test.method, settings={test.setting: test.value})
    side = part_of(wanted, evidence=evidence, metric=metric, name=f"{test.setting}={test.value}")
    others = {
        f"{test.setting}={value_text(value)}": Selector(method=test.method, settings={test.setting: value})
        for value in values
        if value != test.value
    }
    parts = parts_of(others, evidence=evidence, metric=metric, noun="other values", shorts=_bare(others, test.setting))
    if not others:
        raise NotTestableError(f"{test.setting} was not varied")
    parts.require(1)
    yield from parts.missing()
    for other in parts.ran:
        yield better_than(side, other, metric=metric, evaluations=evidence.evaluations)


def _improves(test: ImprovesTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    metric, setting = evidence.of_starts(test.metric or evidence.objective), run_params.INITIAL_MASK
    where = " on the validation text" if metric.startswith(VALIDATION) else ""
    run = values_of(setting, method=test.method, configurations=evidence.configurations)
    if not run:
        raise NotTestableError(f"{test.method} was not run from a known initial mask")
    starts = values_of(
        setting,
        method=test.method,
        configurations=evidence.configurations,
        planned_values=evidence.planned_values,
        claimed=test.starts,
    )
    learned = {f"learned from {start}": Selector(method=test.method, settings={setting: start}) for start in starts}
    shorts = {name: name.removeprefix("learned from ") for name in learned}
    parts = parts_of(learned, evidence=evidence, metric=metric, noun="starts", shorts=shorts)
    parts = _with_starts(parts, metric)
    parts.require(1)
    yield from parts.missing()
    for part in parts.ran:
        initial = Part(f"the {part.side.item.settings[setting]} mask{where}", _initial(part), is_selected=False)
        yield better_than(part, initial, metric=metric, evaluations=evidence.evaluations)


def _with_starts(parts: Parts, metric: str) -> Parts:
    """Return the parts with an evaluated initial mask for every seed; the others count as missing."""
    whole = [part for part in parts.ran if set(_initial(part).values(metric)) == set(part.side.values(metric))]
    lost = [
        Absent(f"{part.side.item.settings['initial_mask']} ({UNEVALUATED})", f"{part.name}: {UNEVALUATED}", True)
        for part in parts.ran
        if part not in whole
    ]
    return Parts(tuple(whole), (*parts.absent, *lost), parts.noun)


def _initial(part: Part) -> Side:
    return Side(part.side.item, is_initial=True)


def _by_text(selectors: Iterable[Selector]) -> dict[str, Selector]:
    return {selector.text: selector for selector in selectors}


def _without_pattern(selectors: Iterable[Selector], pattern: str | None) -> dict[str, str]:
    """Return the names of selectors, without the pattern where it is the given one."""
    return {
        item.text: item.model_copy(update={"pattern": None}).text if item.pattern == pattern else item.text
        for item in selectors
    }


def _bare(names: Iterable[str], setting: str) -> dict[str, str]:
    return {name: name.removeprefix(f"{setting}=") for name in names}
