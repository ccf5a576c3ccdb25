"""The verdict on two compared sides as a sentence, and the title of the page."""

from collections import Counter
from collections.abc import Sequence

from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.statements import metric_text
from nmlab.reports.analysis.two_sides import LETTERS, Finding, PairResult, TwoSides, deciding_test
from nmlab.reports.analysis.two_sides.names import row_text
from nmlab.reports.narrative.two_sides.amounts import change_of, detectable_size, means_text, test_text
from nmlab.reports.values import counted

ROWS_NAMED = 2  # by a verdict on many rows
DECIDED: tuple[Finding, ...] = ("better", "worse", "higher", "lower")
"""The findings of a difference."""


def verdict_of(found: TwoSides) -> str:
    """Return one sentence: which side is better, by how much and by what test, or that none was found better."""
    results = found.leading
    if not results:
        return f"Nothing was compared in {plain_name(found.metrics[0])}."
    return _of_one(results[0], found) if len(results) == 1 else _of_many(results, found)


def title_of(found: TwoSides) -> str:
    """Return a title: ``quickstart: maskpro against susi``; empty where nothing short tells the sides apart."""
    first, second = found.labels
    studies = list(dict.fromkeys(side.runs.study for side in found.sides))
    if not first:
        return ""
    return f"{studies[0]}: {first} against {second}" if len(studies) == 1 else f"{first} against {second}"


def _of_one(item: PairResult, found: TwoSides) -> str:
    name, values = plain_name(item.metric), means_text(item)
    where = f" at equal {found.budget}" if found.budget else ""
    match item.finding:
        case "equal":
            return f"{_called(found, item, 1)} and {_called(found, item, 0)} are equal{where}: {name} {values[1]}."
        case "not tested":
            return (
                f"{_both(found, item)} could not be tested{where} ({item.why_untested}): {name} {_pair_text(values)}."
            )
        case "not separable":
            return (
                f"No difference between {_both(found, item)} that this comparison could see{where}: {name} "
                f"{_pair_text(values)}, {_signed_text(item)}{_detectable_text(item)}."
            )
    winner, loser = (1, 0) if item.better_side != 0 else (0, 1)
    how = item.finding if item.finding in ("higher", "lower") else "better"
    than = f"{_called(found, item, winner)} is {how} than {_called(found, item, loser)}{where}"
    return f"{than}: {name} {values[winner]} against {values[loser]}, {_change_text(item)}."


def _of_many(results: Sequence[PairResult], found: TwoSides) -> str:
    """Return how many rows have each finding, and the rows that differ, a few by name."""
    counts = Counter(item.finding for item in results)
    where = f" at equal {found.budget}" if found.budget else ""
    total = f"Of {counted(len(results), noun='pair')}{where}"
    if counts["equal"] == len(results):
        return f"A and B are equal in all {counted(len(results), noun='pair')}{where}."
    words: dict[Finding, str] = {
        "better": "B is better in {}",
        "worse": "A is better in {}",
        "higher": "B is higher in {}",
        "lower": "B is lower in {}",
        "not separable": "{} can't be told apart",
        "equal": "{} are equal",
        "not tested": "{} could not be tested",
    }
    parts = [text.format(_with_names(results, finding, found)) for finding, text in words.items() if counts[finding]]
    if not any(counts[finding] for finding in DECIDED):
        return f"No difference that this comparison could see. {total}, {', '.join(parts)} ({_correction(results)})."
    return f"{total}, {', '.join(parts)} ({_correction(results)})."


def _with_names(results: Sequence[PairResult], finding: str, found: TwoSides) -> str:
    own = [item for item in results if item.finding == finding]
    if finding not in DECIDED or len(own) > ROWS_NAMED:
        return str(len(own))
    names = " and ".join(row_text(item.pair, matching=found.matching) for item in own)
    return f"{len(own)} ({names})"


def _correction(results: Sequence[PairResult]) -> str:
    tested = sum(item.p_value is not None for item in results)
    return "tests at 5%, corrected for their number" if tested > 1 else "a test at 5%" if tested else "without a test"


def _called(found: TwoSides, item: PairResult, place: int) -> str:
    """Return a side by its letter and its label, or by its method where the sides differ in it."""
    label = found.labels[place]
    method = item.pair.sides[place].method
    if item.pair.first.method != item.pair.second.method and method not in label:
        label = f"{method}, {label}" if label else method
    return f"{LETTERS[place]} ({label})" if label else LETTERS[place]


def _both(found: TwoSides, item: PairResult) -> str:
    return f"{_called(found, item, 0)} and {_called(found, item, 1)}"


def _change_text(item: PairResult) -> str:
    """Return ``B 3.3% lower (95% interval 1.6% to 5.0%; paired t-test over 5 shared seeds, p = 0.004)``."""
    change = change_of(item)
    if change is None:
        return f"{metric_text(abs(item.difference), metric=item.metric)} apart ({deciding_test(item)})"
    return f"B {change.in_words} ({change.interval_in_words}; {test_text(item)})"


def _signed_text(item: PairResult) -> str:
    """Return ``B −2.1% (95% interval −10.8% to +7.3%; paired t-test over 3 shared seeds, p = 0.419)``."""
    change = change_of(item)
    if change is None:
        return f"no interval ({test_text(item)})"
    value, low, high = change.signed
    return f"B {value} (95% interval {low} to {high}; {test_text(item)})"


def _detectable_text(item: PairResult) -> str:
    """Return what such a comparison would have found in 80% of cases; empty where that is not known."""
    size = detectable_size(item)
    return f"; a true difference of {size} would have been found in 80% of cases" if size else ""


def _pair_text(values: tuple[str, str]) -> str:
    return f"{values[0]} (A) and {values[1]} (B)"
