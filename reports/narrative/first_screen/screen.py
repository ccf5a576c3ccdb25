"""The first screen of a report as one value."""

from dataclasses import dataclass

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.finalists import shared_by_finalists, shared_text
from nmlab.reports.analysis.leader import Leader, Standing
from nmlab.reports.analysis.neutral import text_figures
from nmlab.reports.analysis.space.effects import SettingEffects
from nmlab.reports.narrative.first_screen.factor_tiles import with_tiles
from nmlab.reports.narrative.first_screen.factor_words import effect_text, factors_of, joined
from nmlab.reports.narrative.first_screen.sentence import (
    MOST_GROUPS,
    called,
    named_leaders,
    reached_text,
    verdict_of,
)
from nmlab.reports.narrative.first_screen.tiles import tiles_table
from nmlab.reports.narrative.first_screen.trust import selection_text, trust_lines
from nmlab.reports.narrative.neutral_words import both_texts_line
from nmlab.reports.tables.claims import summary_of
from nmlab.reports.values import ReportTable, counted
from nmlab.trials.contract import run_params

NAMED = 6  # configurations that cannot be told from the best and have their names on the first screen
MOST_PATTERNS = 4  # that a line names
HALF_INTERVAL = "± is half a 95% interval"


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What a reader sees first.

    Attributes:
        verdict: the verdict in a few short sentences, each about one thing.
        is_decided: whether it answers with a winner in every group, or an effect, and no baseline is better.
        findings: short lines below it: effects of settings, what was selected and what cannot be told from it.
        tiles: four to six rows: what the study asks, its baselines, the dense model, cost, completeness.
        trust: at most five lines on what to know before trusting it.
        claims: how the claims of the papers fared; "" where the study tests none.
        about: whose masks the report is about: ``2:4 masks of builtin:tiny``.
    """

    verdict: str
    is_decided: bool
    findings: tuple[str, ...]
    tiles: ReportTable
    trust: tuple[str, ...]
    claims: str = ""
    about: str = ""


def first_screen_of(analysis: Analysis) -> FirstScreen:
    """Return the first screen of a launch."""
    leaders = analysis.leaders
    verdict = verdict_of(analysis, leaders=leaders)
    return FirstScreen(
        verdict=verdict,
        is_decided=_is_decided(analysis, leaders),
        findings=tuple(_findings(analysis, leaders, verdict=verdict)),
        claims=_claims(analysis) if analysis.judgements else "",
        tiles=tiles_table(analysis, leaders=leaders),
        trust=trust_lines(analysis, leaders=leaders),
        about=_about(analysis),
    )


def _about(analysis: Analysis) -> str:
    patterns = list(dict.fromkeys(item.pattern for item in analysis.configurations))
    masks = f"{len(patterns)} patterns of" if len(patterns) > MOST_PATTERNS else joined(patterns, "and")
    model = analysis.runs.launch.params.get(run_params.MODEL_SOURCE, "")
    return f"{masks} masks{f' of {model}' if model else ''}" if patterns else ""


def _is_decided(analysis: Analysis, leaders: tuple[Leader, ...]) -> bool:
    if not leaders or any(leader.is_beaten for leader in leaders):
        return False
    factors = factors_of(analysis) if len(leaders) == 1 else None
    if factors is not None:
        return any(test.is_seen for test in factors.tests)
    return all(leader.standing is Standing.BEST for leader in leaders)


def _findings(analysis: Analysis, leaders: tuple[Leader, ...], *, verdict: str) -> list[str]:
    if len(leaders) != 1:
        return [_best_of_groups(analysis, leaders), *_texts_of_groups(analysis, leaders)] if leaders else []
    leader, factors = leaders[0], factors_of(analysis)
    found = [] if factors is None else _without_tile(factors)
    found += [
        _best(leader, verdict),
        both_texts_line(text_figures(leader.best, configurations=analysis.configurations)),
    ]
    found += [_undecided(leader), _shared(analysis, factors), selection_text(analysis, leader)]
    return [text for text in found if text]


def _texts_of_groups(analysis: Analysis, leaders: tuple[Leader, ...]) -> list[str]:
    """Return the figures of each group on every text where there are neutral ones, a line each."""
    named = named_leaders(analysis, leaders)[:MOST_GROUPS]
    lines = [
        (name, both_texts_line(text_figures(leader.best, configurations=analysis.configurations)))
        for name, leader in named
    ]
    return [f"{name}: {line}" for name, line in lines if line]


def _without_tile(factors: SettingEffects) -> list[str]:
    shown = with_tiles(factors)
    return [effect_text(factors, test) for test in factors.tests if test not in shown]


def _claims(analysis: Analysis) -> str:
    """Return the verdicts on the papers' claims, without what the table adds to them."""
    return summary_of(analysis.judgements).partition(". ")[0].removesuffix(".") + "."


def _best(leader: Leader, verdict: str) -> str:
    """Name the best with its settings, as selected only where that means something; define ±.

    Its result follows where the verdict does not have it.
    """
    if leader.standing is Standing.BASELINE:
        return ""
    name, reached = called(leader.best, leader), reached_text(leader)
    result = "" if reached in verdict else f", {reached}"
    defined = f" ({HALF_INTERVAL})" if result and "±" in result else f"; {HALF_INTERVAL}" if "±" in reached else ""
    if len(leader.tried) < 2:
        return f"The configuration: {name} ({leader.best.key}){result}{defined}."
    by = " on validation text" if leader.best.objective.selects_on_validation else ""
    number = counted(len(leader.tried), noun="configuration")
    if leader.is_selected:
        return f"Selected{by}, of {number}: {name} ({leader.best.key}){result}{defined}."
    return f"Best mean{by} of {number}, though nothing sets it apart: {name} ({leader.best.key}){result}{defined}."


def _best_of_groups(analysis: Analysis, leaders: tuple[Leader, ...]) -> str:
    named = named_leaders(analysis, leaders)[:MOST_GROUPS]
    shown = [f"{name} {called(leader.best, leader)} ({leader.best.key})" for name, leader in named]
    what = "Selected" if all(leader.is_selected for leader in leaders) else "Best means"
    return f"{what}: {'; '.join(shown)} ({HALF_INTERVAL})."


def _shared(analysis: Analysis, factors: SettingEffects | None) -> str:
    """Return of which settings fresh seeds saw one value alone, where no tile says it."""
    shown = set() if factors is None else {test.name for test in with_tiles(factors)}
    names = tuple(name for name in shared_by_finalists(analysis.configurations) if name not in shown)
    text = shared_text(analysis.configurations, names=names)
    return f"{text[0].upper()}{text[1:]}: fresh seeds compare no other value." if text else ""


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
