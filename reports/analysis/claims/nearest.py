"""The test of which masks are nearest to those of a method, by overlaps seed by seed."""

from collections.abc import Iterable, Mapping

from nmlab.reports.analysis.claims.claim import OverlapTest
from nmlab.reports.analysis.claims.evidence import Evidence, Overlaps, Part, part_of, parts_of
from nmlab.reports.analysis.claims.judge import ClaimCheck, ClaimVerdict, Tested
from nmlab.reports.analysis.claims.select import NotTestableError
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.statistics import compare_paired


def overlap(test: OverlapTest, evidence: Evidence) -> Iterable[ClaimCheck]:
    """Yield a check for each other side: that the masks of one side overlap more with the nearest than with it.

    Raises:
        NotTestableError: the two sides did not run, none of the others did, or masks were not kept.
    """
    metric = evidence.objective
    side, nearest = (part_of(one, evidence=evidence, metric=metric) for one in (test.side, test.nearest))
    others = {selector.text: selector for selector in test.others}
    parts = parts_of(others, evidence=evidence, metric=metric, noun="others")
    parts.require(1)
    yield from parts.missing()
    for other in parts.ran:
        yield _check(side, nearest=nearest, other=other, overlaps=evidence.overlaps)


def _check(side: Part, *, nearest: Part, other: Part, overlaps: Overlaps) -> ClaimCheck:
    near, far = _by_seed(side.side, nearest.side, overlaps), _by_seed(side.side, other.side, overlaps)
    seeds = [seed for seed in near if seed in far]
    if not seeds:
        raise NotTestableError("the masks were not kept")
    first, second = [near[seed] for seed in seeds], [far[seed] for seed in seeds]
    means = [sum(values) / len(values) for values in (first, second)]
    text = f"{side.name}: {100 * means[0]:.1f}% with {nearest.name}, {100 * means[1]:.1f}% with {other.name}"
    run_ids = tuple(run_id for part in (side, nearest, other) for run_id in part.side.run_ids)
    selected = tuple(part.name for part in (side, nearest, other) if part.is_selected)
    if not any(part.side.has_training_noise for part in (side, nearest, other)):
        order = {True: ClaimVerdict.REPRODUCED, False: ClaimVerdict.CONTRADICTED}
        verdict = ClaimVerdict.NOT_SEPARABLE if means[0] == means[1] else order[means[0] > means[1]]
        return ClaimCheck(
            f"{text} (counted, the same in every run)", decided=verdict, run_ids=run_ids, selected=selected
        )
    wanted = max(len(part.side.run_ids) for part in (side, nearest, other))
    if len(seeds) < max(2, wanted):
        why = "one seed, so no interval" if wanted < 2 else f"masks of {len(seeds)} of {wanted} seeds can be paired"
        return ClaimCheck(text, decided=ClaimVerdict.NOT_TESTED, untested=why, run_ids=run_ids, selected=selected)
    found = compare_paired(first, second=second)
    assert found.p_value is not None
    tested = Tested(found.p_value, found.difference > 0, found.n)
    return ClaimCheck(text, tested=tested, run_ids=run_ids, selected=selected)


def _by_seed(first: Side, second: Side, overlaps: Overlaps) -> dict[int, float]:
    """Return the overlap of each seed of one side with the same seed of the other, or with its only run.

    The seeds are those of the side that has several.
    """
    own, other = _runs(first), _runs(second)
    seeds = list(own if len(own) > 1 else other)
    pairs = {seed: (_run(own, seed), _run(other, seed)) for seed in seeds}
    found = {seed: overlaps.get(pair, overlaps.get((pair[1], pair[0]))) for seed, pair in pairs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _run(runs: Mapping[int, str], seed: int) -> str:
    """Return the run of a seed, or the only run; an empty name where there is neither."""
    return next(iter(runs.values())) if len(runs) == 1 else runs.get(seed, "")


def _runs(side: Side) -> dict[int, str]:
    return {trial.paired_by: trial.run_id for trial in side.item.finished}
