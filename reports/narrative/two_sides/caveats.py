"""What a reader must know before trusting a comparison: every caveat, and at most five lines for the first screen."""

from collections.abc import Sequence

from nmlab.reports.analysis.comparability import Difference
from nmlab.reports.analysis.two_sides import LETTERS, SeedTest, TwoSides
from nmlab.reports.analysis.two_sides.names import is_best_of_several
from nmlab.reports.analysis.two_sides.what_differs import UNKNOWN
from nmlab.reports.narrative.two_sides.amounts import detectable_size
from nmlab.reports.values import counted
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

MOST_LINES = 5
MOST_NAMES = 3  # of differing facts in one line
STEPS, BUDGET, VERSION = "steps", "budget.", "the version of "
NOT_ALIKE, DEPENDS, SAME = "Not evaluated alike", "Numbers may depend on it", "A and B are the same runs."


def warnings_of(found: TwoSides) -> tuple[str, ...]:
    """Return what a reader must know: unlike evaluations, unfinished launches, lost runs, selection, machines."""
    texts = [f"{NOT_ALIKE}: {item}." for item in found.unlike.decisive]
    texts += [f"{DEPENDS}: {item}." for item in found.unlike.noted]
    if found.is_same:
        texts.append(SAME)
    texts += [text for place in ((0,) if found.is_same else (0, 1)) for text in _about_side(found, place)]
    texts += _about_selection(found)
    if any(fact.kind == "machine" for fact in found.facts):
        texts.append("A and B ran on different machines: seconds do not compare.")
    texts += [text for text in (_about_budgets(found), _about_code(found), _unpaired(found), _left_out(found)) if text]
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


def trust_lines_of(found: TwoSides) -> tuple[str, ...]:
    """Return at most five lines, the gravest first: evaluations, lost runs, choice, budgets, pairing, power, scope."""
    lines = [
        _named(NOT_ALIKE, found.unlike.decisive),
        SAME if found.is_same else "",
        *[text for place in ((0,) if found.is_same else (0, 1)) for text in _about_side(found, place)],
        *_about_selection(found),
        _about_budgets(found),
        _named(DEPENDS, [item for item in found.unlike.noted if not item.name.startswith(VERSION)]),
        _about_code(found),
        _unpaired(found),
        _power(found),
        _left_out(found),
        _scope(found),
    ]
    return tuple(line for line in lines if line)[:MOST_LINES]


def _named(lead: str, differences: Sequence[Difference]) -> str:
    """Return the names of differing facts in one line; their values are in the caveats."""
    return f"{lead}: {_first([item.name for item in differences])}." if differences else ""


def _about_code(found: TwoSides) -> str:
    """Return in which code and versions the sides differ; a table has their values."""
    names = [fact.name for fact in found.facts if fact.kind == "code" and UNKNOWN not in fact.values]
    versions = [item.name.removeprefix(VERSION) for item in found.unlike.noted if item.name.startswith(VERSION)]
    apart = list(dict.fromkeys([*names, *versions]))
    return f"A and B ran other code or versions: {_first(apart)}." if apart else ""


def _first(names: Sequence[str]) -> str:
    left = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {left} more" if left > 0 else "")


def _about_budgets(found: TwoSides) -> str:
    """Return that the compared runs had other budgets, or what an equal budget means."""
    if found.budget:
        return (
            f"At equal {found.budget}: the costlier side is taken from its curve, at the last evaluation within what "
            "the cheaper one spent."
        )
    apart = [f"{fact.name} {fact.values[0]} against {fact.values[1]}" for fact in found.facts if _is_budget(fact.name)]
    if not apart:
        return ""
    listed = ", ".join(apart[:MOST_NAMES])
    return f"Unequal budgets (A against B): {listed}. --at-equal tokens compares at an equal one, from recorded curves."


def _is_budget(name: str) -> bool:
    return name == STEPS or name.startswith(BUDGET)


def _unpaired(found: TwoSides) -> str:
    """Return how many pairs have too few common seeds to be compared seed by seed."""
    own = [item for item in found.leading if item.seed_test is SeedTest.WELCH]
    if not own:
        return ""
    verb = "is" if len(own) == 1 else "are"
    return f"{counted(len(own), noun='pair')} {verb} not compared seed by seed: fewer than two seeds in common."


def _power(found: TwoSides) -> str:
    """Return how small a difference a comparison of one pair would have missed."""
    item = found.leading[0] if len(found.leading) == 1 else None
    if item is None or item.finding != "not separable" or not (size := detectable_size(item)):
        return ""
    return f"A true difference below {size} would mostly be missed: not separable does not mean equal."


def _left_out(found: TwoSides) -> str:
    left = len(found.matching.unmatched)
    return f"Listed as not compared: {counted(left, noun='configuration')}." if left else ""


def _scope(found: TwoSides) -> str:
    """Return that a verdict holds for what was evaluated."""
    params = [side.runs.launch.params for side in found.sides]
    known = [{own.get(name, "") for own in params} for name in (run_params.MODEL_SOURCE, run_params.EVALUATION_SOURCE)]
    if any(len(values) != 1 or "" in values for values in known):
        return ""
    (model,), (text,) = known
    return f"One model ({model}) and one text ({text}): others may differ."
