"""The verdict on a launch as one sentence: which won, by how much, how sure, at what cost, on how complete evidence."""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import Configuration, group_name, groups_of
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.run_counts import run_counts
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.reports.analysis.space.effects import NO_DIFFERENCE, SettingEffects
from nmlab.reports.analysis.statements import mean_text
from nmlab.reports.analysis.totals import total_of
from nmlab.reports.narrative.first_screen.differences import difference_of, evidence_text
from nmlab.reports.values import Style, counted, number_text
from nmlab.trials.contract import run_params

MOST_FACTORS = 3  # settings whose effects a sentence names
MOST_GROUPS = 3  # groups that a sentence names
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
        factors = factors_of(analysis)
        lead = f"{effects_clause(factors)}: " if factors is not None else ""
        verdict = lead + _of_leader(leaders[0], is_led=bool(lead)) + _objectives_clause(analysis)
    else:
        verdict = _of_groups(analysis, leaders) + _objectives_clause(analysis)
    text = f"{verdict}; {cost_clause(analysis)}."
    return text[0].upper() + text[1:] if text[0].islower() and not _begins_with_name(text, leaders) else text


def factors_of(analysis: Analysis) -> SettingEffects | None:
    """Return the effects that the verdict names: of a launch in which one method varied a few settings."""
    if len(analysis.effects) != 1 or len({item.method for item in analysis.effects[0].items}) != 1:
        return None
    found = analysis.effects[0]
    methods = {item.method for item in analysis.configurations if not item.is_baseline}
    is_small = 0 < len(found.tests) <= MOST_FACTORS and all(test.p_adjusted is not None for test in found.tests)
    return found if is_small and methods == {found.method} else None


def effects_clause(found: SettingEffects) -> str:
    """Return which settings make a difference: ``neither alpha nor C makes a difference that this study could see``."""
    seen = [test.name for test in found.tests if test.is_seen]
    unseen = [test.name for test in found.tests if not test.is_seen]
    if not seen:
        if len(unseen) == 1:
            return f"{unseen[0]} makes {NO_DIFFERENCE}"
        return f"neither {_joined(unseen, 'nor')} makes a difference that this study could see"
    verb = "makes" if len(seen) == 1 else "make"
    text = f"{_joined(seen, 'and')} {verb} a difference"
    return f"{text}, {_joined(unseen, 'and')} none that this study could see" if unseen else text


def cost_clause(analysis: Analysis) -> str:
    """Return completeness and cost: ``all 53 runs ended (2 diverged) after 8.4 min of computing``."""
    counts, total = run_counts(analysis.runs), total_of(analysis.configurations)
    rest = [f"{count} {name}" for name, count in counts.by_outcome.items() if name != "finished"]
    how = f" ({', '.join(rest)})" if rest else ""
    runs = f"all {counts.whole}" if counts.ended == counts.whole else f"{counts.ended} of {counts.whole}"
    cost = f"after {duration_text(total.value)} of computing" if total.known else "at an unknown cost"
    return f"{runs} runs ended{how} {cost}"


def duration_text(seconds: float) -> str:
    """Return a duration in its largest sensible unit: ``98 s``, ``7.9 min``, ``5.2 h``."""
    if seconds < MINUTES:
        return f"{number_text(seconds, style=Style.SECONDS)} s"
    size, unit = (60.0, "min") if seconds < HOURS else (3600.0, "h")
    return f"{number_text(seconds / size, style=Style.SECONDS)} {unit}"


def called(item: Configuration, leader: Leader) -> str:
    """Return the name of a configuration of the leader's group, without its key."""
    if item.is_baseline:
        return item.method
    setting = setting_text(item, names=varying([other for other in leader.tried if other.method == item.method]))
    if len({other.method for other in leader.tried}) == 1 and item is not leader.best and setting:
        return setting
    return f"{item.method} with {setting}" if setting else item.method


def _of_leader(leader: Leader, *, is_led: bool) -> str:
    """Return who leads, with what result, how it stands to the baselines, and how the runner-up compares."""
    name, reached = called(leader.best, leader), _reached(leader)
    rules, against = _rules_clause(leader), _rival_clause(leader.runner_up)
    if leader.standing is Standing.BASELINE:
        return f"no searched configuration has a result, and the best baseline is {name} with {reached}{against}"
    if leader.standing is Standing.ALONE:
        return f"{name} is the only configuration, reaches {reached}{rules}"
    if leader.standing is Standing.BEST:
        among = f"among {len(leader.tried)} configurations"
        against_whom = f"against {others_text(leader)} of {len(leader.tried)} configurations"
        return f"{name} wins {against_whom if leader.is_fresh else among}, reaches {reached}{rules}{against}"
    by_text = leader.best.objective.selects_on_validation
    verb = "was selected by the search" if leader.is_fresh or by_text else "has the best mean"
    no_winner = f"no winner and {NO_DIFFERENCE}" if leader.standing is Standing.NOT_SEPARABLE else "no winner"
    lead = "" if is_led or leader.standing is Standing.ANOTHER else f"{no_winner}: "
    return f"{lead}{name} {verb}, reaches {reached}{rules}{_doubt(leader)}{against}"


def others_text(leader: Leader) -> str:
    """Return the others in words: ``the other one``, ``both other finalists``, ``all 7 others``."""
    if leader.others == 1:
        return "the other finalist" if leader.is_fresh else "the other one"
    amount = "both" if leader.others == 2 else f"all {leader.others}"
    return f"{amount} other finalists" if leader.is_fresh else f"{amount} others"


def _doubt(leader: Leader) -> str:
    """Return why the leader is no winner; "" where the verdict has said it."""
    if leader.standing is Standing.NOT_SEPARABLE:
        return ""
    if leader.standing is Standing.ANOTHER:
        return ", but another finalist is better"
    if leader.standing is Standing.UNTESTED:
        reason = leader.runner_up.reason if leader.runner_up is not None else ""
        return f", but no test against the others was possible{f' ({reason})' if reason else ''}"
    if leader.standing is Standing.INCOMPLETE:
        return ", but no configuration has all its runs"
    if leader.standing is Standing.DOUBTED:
        return ", but one that lacks runs looks better"
    others = "other finalists" if leader.is_fresh else "others"
    return f", but cannot be told from {len(leader.undecided)} of {leader.others} {others}"


def _rival_clause(rival: Rival | None) -> str:
    """Return how the runner-up compares, with a semicolon before; "" where nothing was compared."""
    difference = None if rival is None else difference_of(rival)
    if rival is None or difference is None:
        return ""
    return f"; its runner-up {difference.clause}{evidence_text(difference, p_value=rival.p_adjusted)}"


def _reached(leader: Leader) -> str:
    """Return the mean of the leader: ``perplexity 128.2 ± 3.5 on 5 fresh seeds``."""
    own = leader.shown
    text, _, seeds = mean_text(own).removesuffix(")").partition(" (")
    over = seeds.replace("seed", "fresh seed") if leader.best.is_confirmed else seeds
    missing = "" if own.is_complete else f" ({len(own.finished)} of its {own.runs_in_all} runs)"
    return f"{plain_name(leader.best.objective.reported)} {text} on {over}{missing}"


def _rules_clause(leader: Leader) -> str:
    """Return how the leader stands to the baselines: `` and beats 4 of 6 baselines, but ...``; "" without any."""
    worse, better = (sum(getattr(rule, name) for rule in leader.rules) for name in ("is_worse", "is_better"))
    every = len(leader.rules)
    if not every:
        return ""
    if worse == every:
        return f" and beats {_every_baseline(every)}"
    if not worse and not better:
        tested = any(rule.p_adjusted is not None for rule in leader.rules)
        return f" and {'cannot be told from' if tested else 'could not be tested against'} {_any_baseline(every)}"
    text = f" and beats {worse or 'none'} of {counted(every, noun='baseline')}"
    if not better:
        return text
    first = next(rule for rule in leader.rules if rule.is_better)
    more = f" and {better - 1} more" if better > 1 else ""
    return f"{text}, but {first.item.method} ({_mean(first)}){more} {'is' if better == 1 else 'are'} better"


def _every_baseline(count: int) -> str:
    return {1: "the one baseline", 2: "both baselines"}.get(count, f"all {count} baselines")


def _any_baseline(count: int) -> str:
    return "the one baseline" if count == 1 else f"any of the {count} baselines"


def _mean(rule: Rival) -> str:
    return mean_text(rule.item).partition(" (")[0]


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


def named_leaders(analysis: Analysis, leaders: Sequence[Leader]) -> list[tuple[str, Leader]]:
    """Return the leaders with the names of their groups, such as their patterns."""
    groups = groups_of(analysis.configurations)
    where = {item.key: group for group, members in groups.items() for item in members}
    return [(group_name(where[leader.best.key], groups=groups), leader) for leader in leaders]


def _short(leader: Leader) -> str:
    name, reached = called(leader.best, leader), _reached(leader)
    if leader.standing is Standing.BEST:
        return f"{name} wins with {reached}"
    if leader.standing in (Standing.BASELINE, Standing.ALONE):
        return f"{name} has {reached}"
    if leader.standing is Standing.ANOTHER and leader.runner_up is not None:
        return f"{called(leader.runner_up.item, leader)} is better than the selected {name} ({reached})"
    return f"no winner, {name} has the best mean, {reached}"


def _without_mask(analysis: Analysis) -> str:
    is_broken = any(item.breaks_constraint for item in analysis.configurations)
    return f"no result: no mask that finished {'keeps the constraints' if is_broken else 'has a value'}"


def _begins_with_name(text: str, leaders: Sequence[Leader]) -> bool:
    """Return whether a sentence begins with the name of a method or a setting, which keeps its letters."""
    first = text.split()[0].rstrip(":,;")
    names = {leader.best.method for leader in leaders} | {name for leader in leaders for name in leader.best.settings}
    return first in names


def _joined(names: Sequence[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
