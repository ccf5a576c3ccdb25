"""Claims about counts and times: exact where the number is the same in every run, else tested over seeds."""

import math
from collections.abc import Iterable, Sequence

from nmlab.reports.analysis.claims.claim import DominatesTest, RatioTest, Selector
from nmlab.reports.analysis.claims.evidence import Evidence
from nmlab.reports.analysis.claims.judge import FEWEST_TIMINGS, ClaimCheck, ClaimVerdict, Tested
from nmlab.reports.analysis.claims.select import NotTestableError
from nmlab.reports.analysis.metrics import is_counted, plain_name
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.statistics import beyond, compare_constant, equivalent
from nmlab.reports.values import counted


def too_few(seeds: int) -> str:
    """Return the reason that this number of timed runs is too small for a test."""
    return f"{counted(seeds, noun='seed')}, a measurement needs at least {FEWEST_TIMINGS}"


def ratio(test: RatioTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    """Yield the check that the ratio of a quantity between two sides has the claimed value.

    Raises:
        NotTestableError: a side did not run, or did not record the quantity.
    """
    sides = [evidence.best(selector, test.metric) for selector in (test.side, test.other)]
    values = [side.values(test.metric) for side in sides]
    if any(not own or min(own.values()) <= 0 for own in values):
        raise NotTestableError(f"{test.metric} was not recorded on both sides")
    first, second = (math.fsum(own.values()) / len(own) for own in values)
    text = f"{plain_name(test.metric)} of {test.side.text} over {test.other.text}: "
    text += f"{first / second:.4g}, claimed {test.value:.4g}"
    run_ids = tuple(run_id for side in sides for run_id in side.run_ids)
    if is_counted(test.metric) and all(len(set(own.values())) == 1 for own in values):
        agrees = abs(first / second - test.value) <= test.tolerance * test.value
        verdict = ClaimVerdict.REPRODUCED if agrees else ClaimVerdict.CONTRADICTED
        yield ClaimCheck(f"{text} (counted, the same in every run)", decided=verdict, run_ids=run_ids)
        return
    seeds = [seed for seed in values[0] if seed in values[1]]
    if len(seeds) < FEWEST_TIMINGS or any(len(own) != len(seeds) for own in values):
        yield ClaimCheck(text, decided=ClaimVerdict.NOT_TESTED, untested=too_few(len(seeds)), run_ids=run_ids)
        return
    logs = [math.log(values[0][seed] / values[1][seed] / test.value) for seed in seeds]
    yield ClaimCheck(text, tested=_within(logs, math.log1p(test.tolerance)), run_ids=run_ids)


def dominates(test: DominatesTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    """Yield the check that one part takes more of a step's time than all others, over the timings of several seeds.

    Raises:
        NotTestableError: a part was not timed in every run.
    """
    side = evidence.best(Selector(method=test.method), test.part)
    shares = _shares(side, (test.part, *test.others))
    name = test.part.removeprefix("time/").removesuffix("_s")
    text = f"{name}: {math.fsum(shares) / len(shares):.0f}% of a step's time on this machine"
    if len(shares) < FEWEST_TIMINGS:
        yield ClaimCheck(text, decided=ClaimVerdict.NOT_TESTED, untested=too_few(len(shares)), run_ids=side.run_ids)
        return
    found = compare_constant(shares, constant=50.0)
    assert found.p_value is not None
    yield ClaimCheck(text, tested=Tested(found.p_value, found.difference > 0, found.n), run_ids=side.run_ids)


def _within(values: Sequence[float], margin: float) -> Tested:
    """Test whether the mean of some values lies within a margin of zero, or beyond it."""
    zeros = [0.0] * len(values)
    supports = abs(math.fsum(values) / len(values)) < margin
    p_value = (equivalent if supports else beyond)(values, second=zeros, margin=margin)
    return Tested(p_value, supports, len(values))


def _shares(side: Side, parts: Sequence[str]) -> list[float]:
    """Return the percentage of the first part in the sum of all, run by run."""
    timed = [side.values(name) for name in parts]
    if any(set(own) != set(timed[0]) for own in timed) or not timed[0]:
        raise NotTestableError("the parts of a step were not timed")
    return [100 * timed[0][seed] / math.fsum(own[seed] for own in timed) for seed in timed[0]]
