"""Two sides compared: which configurations are pairs, the test of each pair, and in what the sides differ."""

from nmlab.reports.analysis.two_sides.at_budget import BUDGETS, at_equal_budget, runs_at_their_end
from nmlab.reports.analysis.two_sides.comparison import TwoSides, compare_sides
from nmlab.reports.analysis.two_sides.matching import (
    BEST_OF_SEARCH,
    MatchedBy,
    MatchedPair,
    Matching,
    PairBudget,
    Unmatched,
    match,
)
from nmlab.reports.analysis.two_sides.pair_tests import (
    Finding,
    PairResult,
    SeedTest,
    compare_pairs,
    deciding_test,
    finding_text,
)
from nmlab.reports.analysis.two_sides.sides import LETTERS, Unlike, labels_of, titles_of, unlike
from nmlab.reports.analysis.two_sides.what_differs import DifferingFact, what_differs

__all__ = [
    "BEST_OF_SEARCH",
    "BUDGETS",
    "LETTERS",
    "DifferingFact",
    "Finding",
    "MatchedBy",
    "MatchedPair",
    "Matching",
    "PairBudget",
    "PairResult",
    "SeedTest",
    "TwoSides",
    "Unlike",
    "Unmatched",
    "at_equal_budget",
    "compare_pairs",
    "compare_sides",
    "deciding_test",
    "finding_text",
    "labels_of",
    "match",
    "runs_at_their_end",
    "titles_of",
    "unlike",
    "what_differs",
]
