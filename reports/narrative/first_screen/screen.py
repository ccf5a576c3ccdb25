"""The first screen of a report as one value."""

from dataclasses import dataclass

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.space.effects import SettingEffects
from nmlab.reports.narrative.first_screen.factor_words import effect_text, factors_of
from nmlab.reports.narrative.first_screen.sentence import (
    MOST_GROUPS,
    called,
    mean_of,
    named_leaders,
    reached_text,
    verdict_sentence,
)
from nmlab.reports.narrative.first_screen.tiles import tiles_table, with_tiles
from nmlab.reports.narrative.first_screen.trust import selection_text, trust_lines
from nmlab.reports.tables.claims import summary_of
from nmlab.reports.values import ReportTable, counted

NAMED = 6  # configurations that cannot be told from the best and have their names on the first screen
HALF_INTERVAL = "± is half a 95% interval"


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What a reader sees first.

    Attributes:
        verdict: the verdict as one sentence.
        is_decided: whether it answers with a winner in every group, or an effect, and no baseline is better.
        findings: short lines below it: effects of settings, what was selected and what cannot be told from it.
        tiles: four rows: two on what the study asks, cost, completeness.
        trust: at most five lines on what to know before trusting it.
        claims: how the claims of the papers fared; "" where the study tests none.
    """

    verdict: str
    is_decided: bool
    findings: tuple[str, ...]
    tiles: ReportTable
    trust: tuple[str, ...]
    claims: str = ""


def first_screen_of(analysis: Analysis) -> FirstScreen:
    """Return the first screen of a launch."""
    leaders = analysis.leaders
    return FirstScreen(
        verdict=verdict_sentence(analysis, leaders=leaders),
        is_decided=_is_decided(analysis, leaders),
        findings=tuple(_findings(analysis, leaders)),
        claims=_claims(analysis) if analysis.judgements else "",
        tiles=tiles_table(analysis, leaders=leaders),
        trust=trust_lines(analysis, leaders=leaders),
    )


def _is_decided(analysis: Analysis, leaders: tuple[Leader, ...]) -> bool:
    if not leaders or any(leader.is_beaten for leader in leaders):
        return False
    factors = factors_of(analysis) if len(leaders) == 1 else None
    if factors is not None:
        return any(test.is_seen for test in factors.tests)
    return all(leader.standing is Standing.BEST for leader in leaders)


def _findings(analysis: Analysis, leaders: tuple[Leader, ...]) -> list[str]:
    if len(leaders) != 1:
        return [_selected_of_groups(analysis, leaders)] if leaders else []
    leader, factors = leaders[0], factors_of(analysis)
    found = [] if factors is None else _without_tile(factors)
    found += [_selected(leader), _undecided(leader), _baselines(analysis, leader), selection_text(analysis, leader)]
    return [text for text in found if text]


def _without_tile(factors: SettingEffects) -> list[str]:
    shown = with_tiles(factors)
    return [effect_text(factors, test) for test in factors.tests if test not in shown]


def _claims(analysis: Analysis) -> str:
    """Return the verdicts on the papers' claims, without what the table adds to them."""
    return summary_of(analysis.judgements).partition(". ")[0].removesuffix(".") + "."


def _selected(leader: Leader) -> str:
    """Name what was selected, with its settings and its result, and define ±."""
    if leader.standing is Standing.BASELINE:
        return ""
    name, reached = called(leader.best, leader), reached_text(leader)
    of_how_many = f", of {counted(len(leader.tried), noun='configuration')}" if len(leader.tried) > 1 else ""
    defined = f" ({HALF_INTERVAL})" if "±" in reached else ""
    return f"Selected{of_how_many}: {name} ({leader.best.key}), {reached}{defined}."


def _selected_of_groups(analysis: Analysis, leaders: tuple[Leader, ...]) -> str:
    named = named_leaders(analysis, leaders)[:MOST_GROUPS]
    shown = [f"{name} {called(leader.best, leader)} ({leader.best.key})" for name, leader in named]
    return f"Selected: {'; '.join(shown)} ({HALF_INTERVAL})."


def _baselines(analysis: Analysis, leader: Leader) -> str:
    """Name the baselines by how they stand to the leader, and the model without a mask."""
    groups = {
        "better": [rule for rule in leader.rules if rule.is_better],
        "not separable": [rule for rule in leader.rules if _is_open(rule) and rule.p_adjusted is not None],
        "not tested": [rule for rule in leader.rules if _is_open(rule) and rule.p_adjusted is None],
        "worse": [rule for rule in leader.rules if rule.is_worse],
    }
    shown = [f"{word}: {', '.join(map(_rule_text, rules))}" for word, rules in groups.items() if rules]
    found = [f"Baselines against it: {'; '.join(shown)}."] if shown and leader.standing is not Standing.BASELINE else []
    dense = next((item for item in analysis.configurations if item.is_dense and item.value is not None), None)
    if dense is not None:
        found.append(f"Without a mask the model has {plain_name(dense.objective.reported)} {mean_of(dense)}.")
    return " ".join(found)


def _is_open(rule: Rival) -> bool:
    return not rule.is_better and not rule.is_worse


def _rule_text(rule: Rival) -> str:
    return f"{rule.item.method} {mean_of(rule.item)}"


def _undecided(leader: Leader) -> str:
    """Name what cannot be told from the leader, and say what the others are."""
    if not leader.undecided:
        return ""
    names = [f"{called(item, leader)} ({item.key})" for item in leader.undecided[:NAMED]]
    left = len(leader.undecided) - NAMED
    more = f" and {left} more, named in the tables" if left > 0 else ""
    return f"Cannot be told from it: {'; '.join(names)}{more}.{_rest(leader)}"


def _rest(leader: Leader) -> str:
    """Say what the configurations are that were not compared with the leader."""
    apart = leader.others - len(leader.undecided)
    left = len(leader.tried) - 1 - leader.others
    found = [f"{counted(apart, noun='other')} can"] if apart else []
    if left:
        why = "not run again on fresh seeds" if leader.is_fresh else "not complete"
        early = sum(bool(item.pruned) for item in leader.tried)
        cut = f" ({early} had been stopped early)" if early else ""
        found.append(f"{counted(left, noun='other')} {'was' if left == 1 else 'were'} {why}{cut}")
    text = "; ".join(found)
    return f" {text[0].upper()}{text[1:]}." if text else ""
