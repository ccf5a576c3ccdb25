"""The verdict on a launch in a few short sentences, each about one thing; it names no settings.

The first answers the question of the study; others say how the method stands to the baselines, whether one of its
configurations is best, and the cost. What the selected settings are, and the numbers of the tests, stand below it and
in the tiles.
"""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import Configuration, group_name, groups_of
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.neutral import text_figures
from nmlab.reports.analysis.run_counts import run_counts
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.reports.analysis.starts import unmoved_of
from nmlab.reports.analysis.statements import mean_text
from nmlab.reports.analysis.totals import total_of
from nmlab.reports.narrative.first_screen.factor_words import effect_sentences, factors_of, joined
from nmlab.reports.narrative.neutral_words import texts_clause
from nmlab.reports.narrative.unmoved_words import unmoved_text
from nmlab.reports.values import Style, counted, number_text
from nmlab.trials.contract import run_params

MOST_GROUPS = 3  # groups that a sentence names
MOST_RULES = 4  # baselines of one kind that a sentence names
MINUTES, HOURS = 120.0, 7200.0  # seconds from which a cost is written in these


def verdict_of(analysis: Analysis, *, leaders: Sequence[Leader]) -> str:
    """Return the verdict: two to four sentences.

    Args:
        analysis: one launch, analysed.
        leaders: the leader of each group of comparable masks.
    """
    found = _answers(analysis, leaders)
    if leaders:
        found += [_unmoved(analysis), _objectives(analysis)]
    found.append(f"this took {cost_clause(analysis)}")
    return " ".join(f"{_capitalised(text, leaders)}." for text in found if text)


def _answers(analysis: Analysis, leaders: Sequence[Leader]) -> list[str]:
    if not leaders:
        return [_without_mask(analysis)]
    if len(leaders) > 1:
        return _of_groups(analysis, leaders)
    question = analysis.runs.launch.params.get(run_params.ANSWERS, "")
    factors = factors_of(analysis)
    if factors is None:
        return [*_of_leader(leaders[0], question), _on_other_texts(analysis, leaders[0])]
    best = _of_best(leaders[0], question)
    return [*effect_sentences(factors), best, _on_other_texts(analysis, leaders[0], is_told=bool(best))]


def cost_clause(analysis: Analysis) -> str:
    """Return completeness and cost: ``53 runs and 8.42 min``, ``3 of 6 runs and 98 s``."""
    counts, total = run_counts(analysis.runs), total_of(analysis.configurations)
    every = counted(counts.whole, noun="run")
    runs = every if counts.ended == counts.whole else f"{counts.ended} of {every}"
    return f"{runs} and {duration_text(total.value) if total.known else 'an unknown time'}"


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


def _of_best(leader: Leader, question: str) -> str:
    """Return how the best of the only method stands to the baselines; "" without baselines."""
    clause = _rules_clause(leader, question)
    return f"the best {leader.best.method} ({reached_text(leader)}) {clause}" if clause else ""


def _of_leader(leader: Leader, question: str) -> list[str]:
    """Return who leads, with what result; how it stands to the baselines, and to the others that were tried."""
    who, rules = f"{leader.best.method} ({reached_text(leader)})", _rules_clause(leader, question)
    if leader.standing is Standing.BASELINE:
        return [f"no searched configuration has a result; the best baseline is {who}"]
    if leader.standing is Standing.ALONE:
        return [f"{who} {rules}" if rules else f"{who} is the only configuration"]
    if rules and len(leader.methods) == 1:
        return [f"{who} {rules}", "" if leader.standing is Standing.BEST else _doubt(leader)]
    if leader.standing is Standing.BEST:
        return [f"{who} is better than {others_text(leader)}{f' and {rules}' if rules else ''}"]
    return [_doubt(leader), f"{who} {_has_best_mean(leader)}", f"{leader.best.method} {rules}" if rules else ""]


def _has_best_mean(leader: Leader) -> str:
    if not leader.best.objective.selects_on_validation:
        return "has the best mean in the search" if leader.is_fresh else "has the best mean"
    return f"has the best mean on the validation text{', which selected' if leader.is_selected else ''}"


def _doubt(leader: Leader) -> str:
    """Return why no configuration is the winner."""
    among = f" among the configurations of {leader.best.method}" if len(leader.methods) == 1 else ""
    if leader.standing is Standing.NOT_SEPARABLE:
        return f"no winner{among}: the best cannot be told from {others_text(leader, is_any=True)}"
    if leader.standing is Standing.ANOTHER:
        return "another finalist is better than the one that was selected"
    if leader.standing is Standing.UNTESTED:
        reason = leader.runner_up.reason if leader.runner_up is not None else ""
        return f"no test was possible{among}{f' ({reason})' if reason else ''}"
    if leader.standing is Standing.INCOMPLETE:
        return "no configuration has all its runs"
    if leader.standing is Standing.DOUBTED:
        return "a configuration that lacks runs looks better"
    kind = "finalists" if leader.is_fresh else "others"
    return f"no winner{among}: {len(leader.undecided)} of {leader.others} {kind} cannot be told from the best"


def rules_by_standing(leader: Leader, *, question: str) -> dict[str, list[Rival]]:
    """Return the baselines by how the leader stands to them, those that the question names first.

    Args:
        leader: the best of a group.
        question: the question of the study.
    """
    rules = sorted(leader.rules, key=lambda rule: rule.item.method.casefold() not in question.casefold())
    is_open = [rule for rule in rules if not rule.is_better and not rule.is_worse]
    return {
        "beats": [rule for rule in rules if rule.is_worse],
        "cannot be told from": [rule for rule in is_open if rule.p_adjusted is not None],
        "could not be tested against": [rule for rule in is_open if rule.p_adjusted is None],
        "is worse than": [rule for rule in rules if rule.is_better],
    }


def _rules_clause(leader: Leader, question: str) -> str:
    """Return ``beats wanda 138.9 and magnitude 142.7, and is worse than susi 77.8 ± 0.6``; "" without baselines."""
    kinds = rules_by_standing(leader, question=question)
    clauses = [f"{verb} {_named(members)}" for verb, members in kinds.items() if members]
    return ", ".join(clauses[:-1]) + ", and " + clauses[-1] if len(clauses) > 1 else "".join(clauses)


def _named(rules: Sequence[Rival]) -> str:
    shown = [f"{rule.item.method} {mean_of(rule.item)}" for rule in rules[:MOST_RULES]]
    left = len(rules) - MOST_RULES
    return joined([*shown, f"{left} more"] if left > 0 else shown, "and")


def _unmoved(analysis: Analysis) -> str:
    """Return how many runs ended with the mask they started from, where these are most; "" elsewhere."""
    found = unmoved_of(analysis.configurations)
    return unmoved_text(found) if found.are_most else ""


def _objectives(analysis: Analysis) -> str:
    """Return that the verdict is by one of several objectives."""
    text = analysis.runs.launch.params.get(run_params.SEARCH_METRIC, "")
    number = len(text.strip("[]").split(",")) if text else 1
    if number < 2:
        return ""
    return f"all this is by {plain_name(analysis.runs.objective.reported)}, the first of {number} objectives"


def _on_other_texts(analysis: Analysis, leader: Leader, *, is_told: bool = True) -> str:
    """Return what the leader reaches on neutral texts, and in-domain where that is not told; "" without such texts."""
    figures = text_figures(leader.best, configurations=analysis.configurations)
    return texts_clause(figures, told={leader.best.objective.reported} if is_told else set())


def _of_groups(analysis: Analysis, leaders: Sequence[Leader]) -> list[str]:
    """Return the verdicts of several groups, whose masks are not compared with each other."""
    shown = [f"{name}: {_short(leader)}" for name, leader in named_leaders(analysis, leaders)[:MOST_GROUPS]]
    left = len(leaders) - MOST_GROUPS
    return [*shown, f"{counted(left, noun='more group')} in the tables" if left > 0 else ""]


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


def _capitalised(text: str, leaders: Sequence[Leader]) -> str:
    """Return a sentence with a capital, unless it begins with the name of a method or a setting."""
    first = text.split()[0].rstrip(":,;")
    names = {leader.best.method for leader in leaders} | {name for leader in leaders for name in leader.best.settings}
    return text if first in names else text[0].upper() + text[1:]
