"""Sentences on two compared sides: the verdict, the costs, and what a reader must know before trusting it."""

import math
from collections import Counter
from collections.abc import Sequence

from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.statements import metric_text, p_value_text
from nmlab.reports.analysis.two_sides import (
    LETTERS,
    Finding,
    PairResult,
    TwoSides,
    deciding_test,
)
from nmlab.reports.analysis.two_sides.names import is_best_of_several, row_text
from nmlab.reports.values import Style, counted, number_text
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

MOST_DECIMALS = 3
ROWS_NAMED = 2  # by a verdict on many rows


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


def cost_sentence(found: TwoSides) -> str:
    """Return what one run of each side cost in seconds, for a comparison of one pair; empty without known costs."""
    if len(found.leading) != 1 or found.budget:
        return ""
    pair = found.leading[0].pair
    first, second = (Side(item).estimate("cost/seconds") for item in pair.sides)
    if first is None or second is None or not first.mean:
        return ""
    own, other = (number_text(each.mean, style=Style.SECONDS) for each in (second, first))
    ratio = number_text(second.mean / first.mean, style=Style.RATIO)
    return f"One run of B cost {own} s, one of A {other} s ({ratio} times as much)."


def _of_one(item: PairResult, found: TwoSides) -> str:
    name, values = plain_name(item.metric), _means_text(item)
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
                f"{_pair_text(values)} ({_interval_text(item)}; {_test_text(item)}){_detectable_text(item)}."
            )
    winner, loser = (1, 0) if item.better_side != 0 else (0, 1)
    how = item.finding if item.finding in ("higher", "lower") else "better"
    than = f"{_called(found, item, winner)} is {how} than {_called(found, item, loser)}{where}"
    return f"{than}: {name} {values[winner]} against {values[loser]}, {_change_text(item, of=winner)}."


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
    if not any(counts[finding] for finding in ("better", "worse", "higher", "lower")):
        return f"No difference that this comparison could see. {total}, {', '.join(parts)} ({_correction(results)})."
    return f"{total}, {', '.join(parts)} ({_correction(results)})."


def _with_names(results: Sequence[PairResult], finding: str, found: TwoSides) -> str:
    own = [item for item in results if item.finding == finding]
    if finding in ("not separable", "equal", "not tested") or len(own) > ROWS_NAMED:
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


def _means_text(item: PairResult) -> tuple[str, str]:
    first, second = item.comparison.reference, item.comparison.side
    means = [side.estimate(item.metric) for side in (first, second)]
    own, other = (metric_text(math.nan if mean is None else mean.mean, metric=item.metric) for mean in means)
    return own, other


def _pair_text(values: tuple[str, str]) -> str:
    return f"{values[0]} (A) and {values[1]} (B)"


def _test_text(item: PairResult) -> str:
    p_value = item.comparison.p_adjusted
    return deciding_test(item) + ("" if p_value is None else f", {p_value_text(p_value)}")


def _change_text(item: PairResult, *, of: int) -> str:
    """Return ``3.3% lower (95% interval 1.6% to 5.0%; paired t-test over 5 shared seeds, p = 0.004)``."""
    change = _changes(item, of=of)
    if change is None:
        amount = abs(item.difference)
        return f"{metric_text(amount, metric=item.metric)} apart ({deciding_test(item)})"
    value, low, high = change
    word = "lower" if value < 0 else "higher"
    size = _sized(abs(value), half=(high - low) / 2, item=item)
    ends = sorted([-low, -high] if value < 0 else [low, high])
    shown = " to ".join(_sized(end, half=(high - low) / 2, item=item) for end in ends)
    return f"{size} {word} (95% interval {shown}; {_test_text(item)})"


def _interval_text(item: PairResult) -> str:
    change = _changes(item, of=1)
    if change is None:
        return "no interval"
    value, low, high = change
    half = (high - low) / 2
    shown = " to ".join(_signed(end, half=half, item=item) for end in (low, high))
    return f"B {_signed(value, half=half, item=item)}, 95% interval {shown}"


def _changes(item: PairResult, *, of: int) -> tuple[float, float, float] | None:
    """Return the change of one side from the other with its interval: percent for ratios, else in the metric's unit."""
    decisive = item.decisive
    if decisive is None or decisive.low is None or decisive.high is None:
        return None
    ends = (decisive.difference, decisive.low, decisive.high)
    if item.comparison.is_ratio:
        value, low, high = ends if of == 1 else (1 / ends[0], 1 / ends[2], 1 / ends[1])
        return 100 * (value - 1), 100 * (low - 1), 100 * (high - 1)
    return ends if of == 1 else (-ends[0], -ends[2], -ends[1])


def _sized(value: float, *, half: float, item: PairResult) -> str:
    """Return an amount with decimals that follow the half width of its interval: two significant digits of that."""
    if not item.comparison.is_ratio:
        return number_text(value, style=style_of(item.metric))
    scale = half or abs(value)
    decimals = min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(scale)))) if scale > 0 else 0
    text = f"{value:,.{decimals}f}".replace("-", "−")
    return f"{text if any(digit in text for digit in '123456789') else text.lstrip('−')}%"


def _signed(value: float, *, half: float, item: PairResult) -> str:
    text = _sized(value, half=half, item=item)
    return f"+{text}" if value > 0 and any(digit in text for digit in "123456789") else text


def _detectable_text(item: PairResult) -> str:
    """Return what such a comparison would have found in 80% of cases; empty where that is not known."""
    least = item.detectable
    if least is None or not math.isfinite(least):
        return ""
    size = f"{100 * (least - 1):.2g}%" if item.comparison.is_ratio else number_text(least, style=style_of(item.metric))
    return f"; a true difference of {size} would have been found in 80% of cases"


def warnings_of(found: TwoSides) -> tuple[str, ...]:
    """Return what a reader must know: unlike evaluations, unfinished launches, lost runs, selection, machines."""
    texts = [f"Not evaluated alike: {item}." for item in found.unlike.decisive]
    texts += [f"Numbers may depend on it: {item}." for item in found.unlike.noted]
    if found.is_same:
        texts.append("A and B are the same runs.")
    texts += [text for place in ((0,) if found.is_same else (0, 1)) for text in _about_side(found, place)]
    texts += _about_selection(found)
    if any(fact.kind == "machine" for fact in found.facts):
        texts.append("A and B ran on different machines: seconds do not compare.")
    left = len(found.matching.unmatched)
    if left:
        texts.append(f"Listed as not compared: {counted(left, noun='configuration')}.")
    return tuple(texts)


def _about_side(found: TwoSides, place: int) -> list[str]:
    side, letter, texts = found.sides[place], LETTERS[place], []
    for launch in side.runs.launches:
        if launch.status != LaunchStatus.FINISHED:
            texts.append(f"Launch {launch.name} of {letter} is {launch.status}, not finished.")
    ended = [trial for item in side.configurations for trial in item.every_trial]
    broken = [trial for trial in ended if trial.status in (TrialStatus.DIVERGED, TrialStatus.FAILED, TrialStatus.OOM)]
    if broken:
        texts.append(f"In {letter}, {counted(len(broken), noun='run')} of {len(ended)} diverged or failed.")
    if any(trial.git_dirty == run_tags.TRUE for trial in ended):
        texts.append(f"Runs of {letter} come from code with uncommitted changes.")
    return texts


def _about_selection(found: TwoSides) -> list[str]:
    chosen = [item.pair for item in found.leading if is_best_of_several(item.pair) and not item.pair.is_fresh]
    if not chosen:
        return []
    validated = all(side.runs.objective.selects_on_validation for side in found.sides)
    by = "on validation text, by the seeds that are compared" if validated else "by the numbers that are compared"
    return [
        f"In {counted(len(chosen), noun='pair')} a side is the best of several configurations, chosen {by}, which "
        "favours the side with more configurations."
    ]
