"""The verdict on a launch as one short sentence: it answers the question of the study and names no settings.

What the selected settings are, and the numbers of the tests, stand below it and in the tiles.
"""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import Configuration, group_name, groups_of
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.run_counts import run_counts
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.reports.analysis.statements import mean_text
from nmlab.reports.analysis.totals import total_of
from nmlab.reports.narrative.first_screen.factor_words import effects_clause, factors_of, joined
from nmlab.reports.values import Style, counted, number_text
from nmlab.trials.contract import run_params

MOST_GROUPS = 3  # groups that a sentence names
MOST_RULES = 4  # baselines of one kind that a sentence names
MINUTES, HOURS = 120.0, 7200.0  # seconds from which a cost is written in these


def verdict_sentence(analysis: Analysis, *, leaders: Sequence[Leader]) -> str:
    """Return the verdict as one sentence.

    Args:
        analysis: one launch, analysed.
        leaders: the leader of each group of comparable masks.
    """
    if not leaders:
        verdict = _without_mask(analysis)
    elif len(leaders) == 1:
        question = analysis.runs.launch.params.get(run_params.ANSWERS, "")
        verdict = _of_factors(analysis, leaders[0], question) or _of_leader(leaders[0], question)
        verdict += _objectives_clause(analysis)
    else:
        verdict = _of_groups(analysis, leaders) + _objectives_clause(analysis)
    text = f"{verdict}; {cost_clause(analysis)}."
    return text[0].upper() + text[1:] if text[0].islower() and not _begins_with_name(text, leaders) else text


def cost_clause(analysis: Analysis) -> str:
    """Return completeness and cost: ``53 runs, 8.42 min``, ``3 of 6 runs, 98 s``."""
    counts, total = run_counts(analysis.runs), total_of(analysis.configurations)
    every = counted(counts.whole, noun="run")
    runs = every if counts.ended == counts.whole else f"{counts.ended} of {every}"
    return f"{runs}, {duration_text(total.value) if total.known else 'cost unknown'}"


def duration_text(seconds: float) -> str:
    """Return a duration in its largest sensible unit: ``98 s``, ``7.9 min``, ``5.2 h``."""
    if seconds < MINUTES:
        return f"{number_text(seconds, style=Style.SECONDS)} s"
    size, unit = (60.0, "min") if seconds < HOURS else (3600.0, "h")
    return f"{number_text(seconds / size, style=Style.SECONDS)} {unit}"


def called(item: Configuration, leader: Leader) -> str:
    """Return the name of a configuration of the leader's group, without its key: settings if one method was tried."""
    if item.is_baseline:
        return item.method
    setting = setting_text(item, names=varying([other for other in leader.tried if other.method == item.method]))
    if len(leader.methods) == 1 and setting:
        return setting
    return f"{item.method} with {setting}" if setting else item.method


def others_text(leader: Leader, *, is_any: bool = False) -> str:
    """Return the others in words: ``the other one``, ``both other finalists``, ``any of the 3 others``."""
    if leader.others == 1:
        return "the other finalist" if leader.is_fresh else "the other one"
    if is_any:
        return f"any of the {leader.others} other{' finalist' if leader.is_fresh else ''}s"
    amount = "both" if leader.others == 2 else f"all {leader.others}"
    return f"{amount} other finalists" if leader.is_fresh else f"{amount} others"


def mean_of(item: Configuration) -> str:
    """Return the mean with its interval, without the number of seeds."""
    return mean_text(item).partition(" (")[0]


def reached_text(leader: Leader) -> str:
    """Return the mean of the leader: ``perplexity 128.2 ± 3.5, 5 fresh seeds``."""
    own = leader.shown
    text, _, seeds = mean_text(own).removesuffix(")").partition(" (")
    over = seeds.replace("seed", "fresh seed") if leader.best.is_confirmed else seeds
    missing = "" if own.is_complete else f", {len(own.finished)} of its {own.runs_in_all} runs"
    return f"{plain_name(leader.best.objective.reported)} {text}, {over}{missing}"


def named_leaders(analysis: Analysis, leaders: Sequence[Leader]) -> list[tuple[str, Leader]]:
    """Return the leaders with the names of their groups, such as their patterns."""
    groups = groups_of(analysis.configurations)
    where = {item.key: group for group, members in groups.items() for item in members}
    return [(group_name(where[leader.best.key], groups=groups), leader) for leader in leaders]


def _of_factors(analysis: Analysis, leader: Leader, question: str) -> str:
    """Return what the settings change, and how the method stands to the baselines where that is decided; or ""."""
    factors = factors_of(analysis)
    if factors is None:
        return ""
    rules = leader.rules
    is_decided = bool(rules) and (any(rule.is_better for rule in rules) or all(rule.is_worse for rule in rules))
    against = f"; {leader.best.method} {_rules_clause(leader, question)}" if is_decided else ""
    return f"{effects_clause(factors)}{against}"


def _of_leader(leader: Leader, question: str) -> str:
    """Return who leads, with what result, and how it stands to the baselines and to the others that were tried."""
    who, rules = f"{leader.best.method} ({reached_text(leader)})", _rules_clause(leader, question)
    if leader.standing is Standing.BASELINE:
        return f"no searched configuration has a result; the best baseline is {who}"
    if leader.standing is Standing.ALONE:
        return f"{who} {rules}" if rules else f"{who} is the only configuration"
    if rules and len(leader.methods) == 1:
        doubt = "" if leader.standing is Standing.BEST else f"; {_doubt(leader)} among its configurations"
        return f"{who} {rules}{doubt}"
    against = f" and {rules}" if rules else ""
    if leader.standing is Standing.BEST:
        return f"{who} is better than {others_text(leader)}{against}"
    return f"{_doubt(leader)}: {who} {_selected(leader)}{against}"


def _selected(leader: Leader) -> str:
    by_text = leader.best.objective.selects_on_validation
    return "was selected by the search" if leader.is_fresh or by_text else "has the best mean"


def _doubt(leader: Leader) -> str:
    """Return why the leader is no winner."""
    if leader.standing is Standing.NOT_SEPARABLE:
        return "no winner"
    if leader.standing is Standing.ANOTHER:
        return "another finalist is better"
    if leader.standing is Standing.UNTESTED:
        reason = leader.runner_up.reason if leader.runner_up is not None else ""
        return f"no test was possible{f' ({reason})' if reason else ''}"
    if leader.standing is Standing.INCOMPLETE:
        return "no complete one"
    if leader.standing is Standing.DOUBTED:
        return "one that lacks runs looks better"
    kind = "finalists" if leader.is_fresh else "others"
    return f"no winner ({len(leader.undecided)} of {leader.others} {kind} cannot be told apart)"


def _rules_clause(leader: Leader, question: str) -> str:
    """Return ``beats wanda 138.9 and magnitude 142.7, and is worse than susi 77.8``; "" without baselines."""
    rules = sorted(leader.rules, key=lambda rule: rule.item.method.casefold() not in question.casefold())
    is_open = [rule for rule in rules if not rule.is_better and not rule.is_worse]
    kinds = {
        "beats": [rule for rule in rules if rule.is_worse],
        "cannot be told from": [rule for rule in is_open if rule.p_adjusted is not None],
        "could not be tested against": [rule for rule in is_open if rule.p_adjusted is None],
        "is worse than": [rule for rule in rules if rule.is_better],
    }
    clauses = [f"{verb} {_named(members)}" for verb, members in kinds.items() if members]
    return ", ".join(clauses[:-1]) + ", and " + clauses[-1] if len(clauses) > 1 else "".join(clauses)


def _named(rules: Sequence[Rival]) -> str:
    shown = [f"{rule.item.method} {mean_of(rule.item).partition(' ±')[0]}" for rule in rules[:MOST_RULES]]
    left = len(rules) - MOST_RULES
    return joined([*shown, f"{left} more"] if left > 0 else shown, "and")


def _objectives_clause(analysis: Analysis) -> str:
    """Return that the verdict is by one of several objectives."""
    text = analysis.runs.launch.params.get(run_params.SEARCH_METRIC, "")
    number = len(text.strip("[]").split(",")) if text else 1
    if number < 2:
        return ""
    return f"; all this by {plain_name(analysis.runs.objective.reported)}, the first of {number} objectives"


def _of_groups(analysis: Analysis, leaders: Sequence[Leader]) -> str:
    """Return the verdicts of several groups, whose masks are not compared with each other."""
    shown = [f"{name}: {_short(leader)}" for name, leader in named_leaders(analysis, leaders)[:MOST_GROUPS]]
    left = len(leaders) - MOST_GROUPS
    return "; ".join(shown) + (f"; {counted(left, noun='more group')} in the tables" if left > 0 else "")


def _short(leader: Leader) -> str:
    name, reached = leader.best.method, reached_text(leader)
    if leader.standing is Standing.BEST:
        return f"{name} wins ({reached})"
    if leader.standing in (Standing.BASELINE, Standing.ALONE):
        return f"{name} has {reached}"
    if leader.standing is Standing.ANOTHER and leader.runner_up is not None:
        return f"another finalist is better than the selected {name} ({reached})"
    return f"no winner, {name} has the best mean ({reached})"


def _without_mask(analysis: Analysis) -> str:
    is_broken = any(item.breaks_constraint for item in analysis.configurations)
    return f"no result: no mask that finished {'keeps the constraints' if is_broken else 'has a value'}"


def _begins_with_name(text: str, leaders: Sequence[Leader]) -> bool:
    """Return whether a sentence begins with the name of a method or a setting, which keeps its letters."""
    first = text.split()[0].rstrip(":,;")
    names = {leader.best.method for leader in leaders} | {name for leader in leaders for name in leader.best.settings}
    return first in names
