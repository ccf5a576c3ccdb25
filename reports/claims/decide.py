"""The kinds of test that decide a claim, each from a study's configurations to checks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from nmlab.reports.claims.claim import (
    BeatsTest,
    ChoiceTest,
    DominatesTest,
    FlatTest,
    ImprovesTest,
    OrderTest,
    OverlapTest,
    RatioTest,
    Selector,
)
from nmlab.reports.claims.judge import Check, Verdict, better_than
from nmlab.reports.claims.select import NotTestableError, chosen, refuse_unlike, values_of
from nmlab.reports.configurations import Configuration
from nmlab.reports.contrasts import Side
from nmlab.reports.evaluations import Evaluation
from nmlab.reports.metrics import plain_name
from nmlab.reports.statistics import compare_paired, equivalent

Overlaps: TypeAlias = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Evidence:
    """What a test may look at: comparable configurations, losses by window, and overlaps of masks by run ids."""

    configurations: Sequence[Configuration]
    objective: str
    evaluations: Mapping[str, Evaluation]
    overlaps: Overlaps

    def best(self, selector: Selector, metric: str) -> Side:
        """Return the side that a selector means."""
        return chosen(selector, configurations=self.configurations, metric=metric)


def checks_of(test: Any, *, evidence: Evidence) -> tuple[Check, ...]:
    """Return the checks of any test.

    Raises:
        NotTestableError: the study did not run what the test needs.
    """
    return tuple(_KINDS[type(test)](test, evidence))


def _order(test: OrderTest, evidence: Evidence) -> Iterable[Check]:
    metric = test.metric or evidence.objective
    sides = [evidence.best(selector, metric) for selector in test.sides]
    refuse_unlike(sides)
    for (first, second), names in zip(pairwise(sides), pairwise(item.text for item in test.sides), strict=True):
        yield better_than(first, second, metric=metric, names=names, evaluations=evidence.evaluations)


def _beats(test: BeatsTest, evidence: Evidence) -> Iterable[Check]:
    metric = test.metric or evidence.objective
    side = evidence.best(test.side, metric)
    others = _present(test.others, evidence, metric)
    refuse_unlike([side, *others.values()])
    for name, other in others.items():
        yield better_than(side, other, metric=metric, names=(test.side.text, name), evaluations=evidence.evaluations)


def _choice(test: ChoiceTest, evidence: Evidence) -> Iterable[Check]:
    metric = test.metric or evidence.objective
    values = values_of(test.setting, method=test.method, configurations=evidence.configurations)
    wanted = Selector(method=test.method, settings={test.setting: test.value})
    side = evidence.best(wanted, metric)
    others = [value for value in values if value != test.value]
    if not others:
        raise NotTestableError(f"{test.setting} was not varied")
    for value in others:
        names = (f"{test.setting}={test.value}", f"{test.setting}={value}")
        try:
            other = evidence.best(Selector(method=test.method, settings={test.setting: value}), metric)
        except NotTestableError:
            yield Check(f"{names[1]}: not every seed finished", decided=Verdict.NOT_TESTED)
            continue
        yield better_than(side, other, metric=metric, names=names, evaluations=evidence.evaluations)


def _flat(test: FlatTest, evidence: Evidence) -> Iterable[Check]:
    metric = test.metric or evidence.objective
    values = values_of(test.setting, method=test.method, configurations=evidence.configurations)
    if len(values) < 2:
        raise NotTestableError(f"{test.setting} was not varied")
    sides = [evidence.best(Selector(method=test.method, settings={test.setting: value}), metric) for value in values]
    largest = sides[-1].values(metric)
    for value, side in zip(values[:-1], sides[:-1], strict=True):
        own = side.values(metric)
        seeds = [seed for seed in own if seed in largest]
        if len(seeds) < 2:
            raise NotTestableError("equality needs at least two seeds on both sides")
        first, second = [own[seed] for seed in seeds], [largest[seed] for seed in seeds]
        yield _flat_check(test, (value, values[-1]), first, second, (*side.run_ids, *sides[-1].run_ids))


def _flat_check(
    test: FlatTest, values: tuple[Any, Any], first: list[float], second: list[float], run_ids: tuple[str, ...]
) -> Check:
    room = test.margin * sum(second) / len(second)
    found = compare_paired(first, second=second)
    p_value = equivalent(first, second=second, margin=abs(room))
    share = 100 * found.difference / (sum(second) / len(second))
    text = f"{test.setting}={values[0]} against {values[1]}: {share:+.1f}% (equal within {100 * test.margin:.0f}%: "
    text += f"p = {p_value:.3f}, {found.n} seeds)"
    assert found.low is not None
    assert found.high is not None
    if p_value < 0.05:
        return Check(text, decided=Verdict.REPRODUCED, run_ids=run_ids)
    outside = found.low > abs(room) or found.high < -abs(room)
    return Check(text, decided=Verdict.CONTRADICTED if outside else Verdict.NOT_SEPARABLE, run_ids=run_ids)


def _improves(test: ImprovesTest, evidence: Evidence) -> Iterable[Check]:
    metric = test.metric or evidence.objective
    starts = values_of("initial_mask", method=test.method, configurations=evidence.configurations)
    if not starts:
        raise NotTestableError(f"{test.method} was not run from a known initial mask")
    for start in starts:
        side = evidence.best(Selector(method=test.method, settings={"initial_mask": start}), metric)
        initial = Side(side.item, is_initial=True)
        if not initial.values(metric):
            raise NotTestableError("the initial masks were not evaluated")
        yield better_than(
            side,
            initial,
            metric=metric,
            names=(f"learned from {start}", f"the {start} mask"),
            evaluations=evidence.evaluations,
        )


def _ratio(test: RatioTest, evidence: Evidence) -> Iterable[Check]:
    sides = [evidence.best(selector, test.metric) for selector in (test.side, test.other)]
    found = [side.item.estimate(test.metric) for side in sides]
    if any(item is None or item.mean == 0 for item in found):
        raise NotTestableError(f"{test.metric} was not recorded on both sides")
    first, second = (item.mean for item in found if item is not None)
    ratio = first / second
    agrees = abs(ratio - test.value) <= test.tolerance * test.value
    sides_text = f"{test.side.text} over {test.other.text}"
    text = f"{plain_name(test.metric)} of {sides_text}: {ratio:.4g}, claimed {test.value:.4g}"
    verdict = Verdict.REPRODUCED if agrees else Verdict.CONTRADICTED
    yield Check(text, decided=verdict, run_ids=tuple(run for side in sides for run in side.run_ids))


def _dominates(test: DominatesTest, evidence: Evidence) -> Iterable[Check]:
    side = evidence.best(Selector(method=test.method), test.part)
    parts = [side.item.estimate(name) for name in (test.part, *test.others)]
    if any(part is None for part in parts):
        raise NotTestableError("the parts of a step were not timed")
    own, *rest = (part.mean for part in parts if part is not None)
    share = 100 * own / (own + sum(rest))
    verdict = Verdict.REPRODUCED if share > 50 else Verdict.CONTRADICTED
    name = test.part.removeprefix("time/").removesuffix("_s")
    yield Check(f"{name}: {share:.0f}% of a step's time on this machine", decided=verdict, run_ids=side.run_ids)


def _overlap(test: OverlapTest, evidence: Evidence) -> Iterable[Check]:
    metric = evidence.objective
    side, nearest = evidence.best(test.side, metric), evidence.best(test.nearest, metric)
    others = _present(test.others, evidence, metric)
    near = _mean_overlap(side, nearest, evidence.overlaps)
    for name, other in others.items():
        far = _mean_overlap(side, other, evidence.overlaps)
        text = f"{test.side.text}: {100 * near:.1f}% with {test.nearest.text}, {100 * far:.1f}% with {name}"
        verdict = Verdict.REPRODUCED if near > far else Verdict.CONTRADICTED
        yield Check(text, decided=verdict, run_ids=(*side.run_ids, *nearest.run_ids, *other.run_ids))


def _mean_overlap(first: Side, second: Side, overlaps: Overlaps) -> float:
    found = [overlaps.get((a, b)) for a in first.run_ids for b in second.run_ids]
    known = [value for value in found if value is not None]
    if not known:
        raise NotTestableError("the masks were not kept")
    return sum(known) / len(known)


def _present(selectors: Sequence[Selector], evidence: Evidence, metric: str) -> dict[str, Side]:
    """Return those of several sides that were run.

    Raises:
        NotTestableError: none was.
    """
    found: dict[str, Side] = {}
    for selector in selectors:
        try:
            found[selector.text] = evidence.best(selector, metric)
        except NotTestableError:
            continue
    if not found:
        raise NotTestableError(f"none of {', '.join(item.text for item in selectors)} was run")
    return found


_KINDS: dict[type, Callable[[Any, Evidence], Iterable[Check]]] = {
    OrderTest: _order,
    BeatsTest: _beats,
    ChoiceTest: _choice,
    FlatTest: _flat,
    ImprovesTest: _improves,
    RatioTest: _ratio,
    DominatesTest: _dominates,
    OverlapTest: _overlap,
}
