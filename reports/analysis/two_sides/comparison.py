"""The comparison of two sides, computed once; its tables, its figure and its sentences use it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nmlab.reports.analysis.compared_studies import ComparedStudy, read_study
from nmlab.reports.analysis.cross_tabulation import layout_of
from nmlab.reports.analysis.metrics import neutral_metrics
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.two_sides.at_budget import BUDGETS, at_equal_budget, runs_at_their_end
from nmlab.reports.analysis.two_sides.matching import MatchedPair, Matching, Unmatched, match
from nmlab.reports.analysis.two_sides.pair_tests import PairResult, compare_pairs
from nmlab.reports.analysis.two_sides.sides import LETTERS, Unlike, labels_of, unlike
from nmlab.reports.analysis.two_sides.what_differs import DifferingFact, what_differs
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.evaluations import RunEvaluation, read_evaluations
from nmlab.reports.read.store import RunStore
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.values import counted
from nmlab.trials.contract.near_names import unknown_name

_REASONS_IN_WORDS = 3


@dataclass(frozen=True, slots=True)
class TwoSides:
    """Two sides and what is found of them.

    Attributes:
        sides: the first side, A, and the second, B.
        labels: short names of them; "" where nothing short tells them apart.
        metrics: what is compared, the leading metric first.
        matching: the pairs, and what is in none.
        results: the pairs with their tests, metric by metric.
        unlike: in what the evaluations differ.
        facts: in what else the sides differ.
        budget: what an equal budget is of; "" for whole runs.
    """

    sides: tuple[ComparedStudy, ComparedStudy]
    labels: tuple[str, str]
    metrics: tuple[str, ...]
    matching: Matching
    results: tuple[PairResult, ...]
    unlike: Unlike
    facts: tuple[DifferingFact, ...]
    budget: str = ""

    @property
    def leading(self) -> tuple[PairResult, ...]:
        """The results in the leading metric."""
        return tuple(item for item in self.results if item.metric == self.metrics[0])

    @property
    def is_same(self) -> bool:
        """Whether both sides are the same runs."""
        first, second = ({trial.run_id for trial in _trials(side)} for side in self.sides)
        return first == second


def compare_sides(
    store: RunStore,
    studies: tuple[str, str],
    *,
    rows: Sequence[str] = (),
    metrics: Sequence[str] = (),
    at_equal: str = "",
) -> TwoSides:
    """Compare two sides.

    Args:
        store: an opened store.
        studies: the sides, as :mod:`nmlab.reports.analysis.compared_studies` describes them.
        rows: what makes two configurations a pair, in place of what :func:`match` chooses.
        metrics: the metrics to compare; by default the one that both sides report, and those of neutral texts.
        at_equal: compare at an equal budget of one of ``BUDGETS``.

    Raises:
        ReportError: an unknown name, with the nearest; sides that report different metrics where none is named; nothing
            to compare, with the reasons; a budget of which no curve was recorded; a corrupted artifact.
    """
    if at_equal and at_equal not in BUDGETS:
        raise ReportError(unknown_name(at_equal, kind="budget", known=BUDGETS))
    sides = (read_study(store, text=studies[0]), read_study(store, text=studies[1]))
    chosen = _metrics(sides, metrics, at_equal=at_equal)
    layout_of([member for side in sides for member in side.members], rows=rows, columns=(), metrics=chosen)
    matching = match(
        (sides[0].members, sides[1].members),
        metric=chosen[0],
        rows=rows,
        is_selected=any(side.selector for side in sides),
    )
    if at_equal:
        matching = _at_equal(matching, sides, kind=at_equal)
    if not matching.pairs:
        raise ReportError(f"nothing to compare: {_reasons(matching)}")
    return TwoSides(
        sides=sides,
        labels=labels_of(sides),
        metrics=chosen,
        matching=matching,
        results=compare_pairs(matching.pairs, metrics=chosen, evaluations=_evaluations(store, matching.pairs)),
        unlike=unlike(sides, pairs=matching.pairs, metrics=chosen),
        facts=what_differs(sides, pairs=matching.pairs),
        budget=at_equal,
    )


def _trials(side: ComparedStudy) -> list[TrialRecord]:
    return [trial for item in side.configurations for trial in item.every_trial]


def _metrics(sides: tuple[ComparedStudy, ComparedStudy], given: Sequence[str], *, at_equal: str) -> tuple[str, ...]:
    """Return the metrics to compare; curves are of the searched metric alone."""
    own = [side.runs.objective.metric if at_equal else side.runs.objective.reported for side in sides]
    modes = {side.runs.objective.mode for side in sides}
    what = "searched by" if at_equal else "reported by"
    if at_equal and given and list(given) != [own[0]]:
        raise ReportError(f"curves are of {own[0]} alone, so that {', '.join(given)} can't be compared at equal budget")
    if own[0] != own[1] and (at_equal or not given):
        end = "" if at_equal else "; name one that both have with --metric"
        raise ReportError(f"A is {what} {own[0]} and B {what} {own[1]}{end}")
    if own[0] == own[1] and len(modes) > 1:
        raise ReportError(f"{own[0]} is minimised on one side and maximised on the other")
    return tuple(given) or (own[0], *(() if at_equal else _neutral_of_both(sides, own[0])))


def _neutral_of_both(sides: tuple[ComparedStudy, ComparedStudy], reported: str) -> tuple[str, ...]:
    """Return the perplexities of neutral texts that both sides measured."""
    first, second = (neutral_metrics(side.configurations) for side in sides)
    return tuple(name for name in first if name in second and name != reported)


def _at_equal(matching: Matching, sides: tuple[ComparedStudy, ComparedStudy], *, kind: str) -> Matching:
    progress = (sides[0].runs.progress, sides[1].runs.progress)
    found = [(pair, at_equal_budget(pair, kind=kind, progress=progress)) for pair in matching.pairs]
    pairs = tuple(reached for _, reached in found if isinstance(reached, MatchedPair))
    without = [(pair, reason) for pair, reason in found if isinstance(reason, str)]
    if not pairs and without:
        raise ReportError(f"nothing to compare at equal {kind}: {without[0][1]}")
    left = tuple(
        Unmatched(place, item, f"at equal {kind}: {reason}")
        for pair, reason in without
        for place, item in enumerate(pair.sides)
    )
    return replace(matching, pairs=pairs, unmatched=(*left, *matching.unmatched))


def _evaluations(store: RunStore, pairs: Sequence[MatchedPair]) -> dict[str, RunEvaluation]:
    """Read what runs kept of the evaluation of their masks where neither side of a pair has training noise."""
    fixed = [pair for pair in pairs if not any(Side(item).has_training_noise for item in pair.sides)]
    run_ids = [run_id for pair in fixed for run_id in runs_at_their_end(pair)]
    return {run_id: item for run_id, item in read_evaluations(store, run_ids=run_ids).items() if item is not None}


def _reasons(matching: Matching) -> str:
    """Return why there is no pair: each reason with its side, the first few."""
    found: dict[str, int] = {}
    for item in matching.unmatched:
        text = f"{item.item.method} of {LETTERS[item.side]}: {item.reason}"
        found[text] = found.get(text, 0) + 1
    shown = [f"{text}{f' ({count} of them)' if count > 1 else ''}" for text, count in found.items()]
    left = len(shown) - _REASONS_IN_WORDS
    more = f"; and {counted(left, noun='further reason')}" if left > 0 else ""
    return ("; ".join(shown[:_REASONS_IN_WORDS]) or "no configuration") + more
