"""The first screen of a report as one value."""

from dataclasses import dataclass

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.effects import SettingEffects, SettingTest
from nmlab.reports.analysis.statements import mean_text
from nmlab.reports.narrative.first_screen.differences import Difference, evidence_text
from nmlab.reports.narrative.first_screen.sentence import called, factors_of, verdict_sentence
from nmlab.reports.narrative.first_screen.tiles import tiles_table
from nmlab.reports.narrative.first_screen.trust import trust_lines
from nmlab.reports.tables.claims import summary_of
from nmlab.reports.tables.effects import verdict_of
from nmlab.reports.values import ReportTable

NAMED = 6  # configurations that cannot be told from the best and have their names on the first screen


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What a reader sees first.

    Attributes:
        verdict: the verdict as one sentence.
        is_decided: whether it names a winner in every group.
        findings: short lines below it: the effects of settings, what cannot be told from the best, the claims.
        tiles: four rows: difference, confidence, cost, completeness.
        trust: at most five lines on what to know before trusting it.
    """

    verdict: str
    is_decided: bool
    findings: tuple[str, ...]
    tiles: ReportTable
    trust: tuple[str, ...]


def first_screen_of(analysis: Analysis) -> FirstScreen:
    """Return the first screen of a launch."""
    leaders = analysis.leaders
    return FirstScreen(
        verdict=verdict_sentence(analysis, leaders=leaders),
        is_decided=bool(leaders) and all(leader.standing is Standing.BEST for leader in leaders),
        findings=tuple(_findings(analysis, leaders)),
        tiles=tiles_table(analysis, leaders=leaders),
        trust=trust_lines(analysis, leaders=leaders),
    )


def _findings(analysis: Analysis, leaders: tuple[Leader, ...]) -> list[str]:
    factors = factors_of(analysis) if len(leaders) == 1 else None
    found = [effect_text(factors, test) for test in factors.tests] if factors is not None else []
    for leader in leaders if len(leaders) == 1 else ():
        found += [text for text in (_undecided(leader), _against_baselines(leader)) if text]
    return [*found, *([_claims(analysis)] if analysis.judgements else [])]


def _claims(analysis: Analysis) -> str:
    """Return the verdicts on the papers' claims, without what the table adds to them."""
    return summary_of(analysis.judgements).partition(". ")[0].removesuffix(".") + "."


def _against_baselines(leader: Leader) -> str:
    """Name the baselines by how they stand to the leader."""
    if leader.standing is Standing.BASELINE or not leader.rules:
        return ""
    groups = {
        "better": [rule for rule in leader.rules if rule.is_better],
        "not separable": [rule for rule in leader.rules if _is_open(rule) and rule.p_adjusted is not None],
        "not tested": [rule for rule in leader.rules if _is_open(rule) and rule.p_adjusted is None],
        "worse": [rule for rule in leader.rules if rule.is_worse],
    }
    shown = [f"{word}: {', '.join(map(_rule_text, rules))}" for word, rules in groups.items() if rules]
    return f"Baselines against it: {'; '.join(shown)}."


def _is_open(rule: Rival) -> bool:
    return not rule.is_better and not rule.is_worse


def _rule_text(rule: Rival) -> str:
    return f"{rule.item.method} {mean_text(rule.item).partition(' (')[0]}"


def effect_text(found: SettingEffects, test: SettingTest) -> str:
    """Return the effect of a setting: ``alpha (0.9 to 0.99): +1.5% perplexity (...); makes a difference``."""
    ends = [value_text(value) for value in (test.lower, test.upper) if value is not None]
    name = f"{test.name} ({'largest, ' if test.is_largest else ''}{' to '.join(ends)})"
    stated = found.stated(test)
    where = f" at step {found.step:,}" if found.step is not None else ""
    if stated is None:
        return f"{name}: {verdict_of(test)}."
    difference = Difference(found.metric, stated.difference, stated.low, stated.high)
    evidence = evidence_text(difference, p_value=test.p_adjusted)
    return f"{name}: {difference.texts[0]} {plain_name(found.metric)}{where}{evidence}; {verdict_of(test)}."


def _undecided(leader: Leader) -> str:
    """Name what cannot be told from the leader."""
    if not leader.undecided:
        return ""
    names = [f"{called(item, leader)} ({item.key})" for item in leader.undecided[:NAMED]]
    left = len(leader.undecided) - NAMED
    more = f" and {left} more, named in the tables" if left > 0 else ""
    return f"Cannot be told from the best ({leader.best.key}): {'; '.join(names)}{more}."
