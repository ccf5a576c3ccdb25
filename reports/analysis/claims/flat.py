"""The test that a setting hardly matters: each value is equivalent to the largest one within a margin."""

from collections.abc import Iterable

from nmlab.reports.analysis.claims.claim import FlatTest, Selector
from nmlab.reports.analysis.claims.evidence import Evidence, Part, parts_of
from nmlab.reports.analysis.claims.judge import ClaimCheck, ClaimVerdict, Tested
from nmlab.reports.analysis.claims.select import NotTestableError, values_of
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.statistics import beyond, equivalent


def flat(test: FlatTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    """Yield a check for each value of the setting against the largest one that ran.

    Raises:
        NotTestableError: fewer than two values ran.
    """
    metric = test.metric or evidence.objective
    values = values_of(
        test.setting, method=test.method, configurations=evidence.configurations, planned_values=evidence.planned_values
    )
    selectors = {
        f"{test.setting}={value_text(value)}": Selector(method=test.method, settings={test.setting: value})
        for value in values
    }
    if len(values) < 2:
        raise NotTestableError(f"{test.setting} was not varied")
    shorts = {name: name.removeprefix(f"{test.setting}=") for name in selectors}
    parts = parts_of(selectors, evidence=evidence, metric=metric, noun="values", shorts=shorts)
    parts.require(2)
    yield from parts.missing()
    for part in parts.ran[:-1]:
        yield _check(part, test=test, largest=parts.ran[-1], metric=metric)


def _check(part: Part, *, test: FlatTest, largest: Part, metric: str) -> ClaimCheck:
    own, other = part.side.values(metric), largest.side.values(metric)
    seeds = [seed for seed in own if seed in other]
    run_ids = (*part.side.run_ids, *largest.side.run_ids)
    selected = tuple(item.name for item in (part, largest) if item.is_selected)
    text = f"{part.name} against {largest.name.removeprefix(f'{test.setting}=')}"
    if len(seeds) < max(2, len(own), len(other)):
        why = "an equivalence test needs at least two seeds, the same on both sides"
        return ClaimCheck(text, decided=ClaimVerdict.NOT_TESTED, untested=why, run_ids=run_ids, selected=selected)
    first, second = [own[seed] for seed in seeds], [other[seed] for seed in seeds]
    mean = sum(second) / len(second)
    apart, margin = sum(first) / len(first) - mean, abs(test.margin * mean)
    supports = abs(apart) < margin
    p_value = (equivalent if supports else beyond)(first, second=second, margin=margin)
    text += f": {100 * apart / mean:+.1f}%, equal within {100 * test.margin:.0f}%"
    return ClaimCheck(text, tested=Tested(p_value, supports, len(seeds)), run_ids=run_ids, selected=selected)
