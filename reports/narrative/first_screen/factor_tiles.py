"""The tiles on the effects of the settings that a study varies: those that are best supported."""

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.finalists import shared_text
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.space.effects import Basis, SettingEffects, SettingTest
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.narrative.first_screen.differences import Difference, measured_in
from nmlab.reports.narrative.first_screen.factor_words import (
    contrast_text,
    effect_of,
    measured_text,
)
from nmlab.reports.narrative.first_screen.tile import tile
from nmlab.reports.values import Cell, Row

MOST_EFFECTS = 2  # that have a tile each
TOO_NARROW = "too narrow a range to answer"


def factor_tiles(analysis: Analysis, factors: SettingEffects) -> list[Row]:
    """Return two tiles: the effects that are best supported, or that of the only setting and the test of it."""
    effects = [_effect(analysis, factors, test) for test in with_tiles(factors)]
    return effects if len(effects) > 1 else [*effects, _confidence(factors, factors.tests[0])]


def with_tiles(factors: SettingEffects) -> tuple[SettingTest, ...]:
    """Return the effects that have a tile: those with the smallest p-values, in the order of the settings."""
    order = sorted(factors.tests, key=lambda test: 1.0 if test.p_adjusted is None else test.p_adjusted)
    return tuple(test for test in factors.tests if test in order[:MOST_EFFECTS])


def _effect(analysis: Analysis, factors: SettingEffects, test: SettingTest) -> Row:
    """Return an effect with its interval; with several settings its answer stands in the detail."""
    what = f"Effect of {test.name} on {_measured(factors)}"
    parts = [_answer(test) if len(factors.tests) > 1 else "", _contrast(factors, test)]
    parts += [TOO_NARROW] if factors.is_narrow(test.name) and not test.is_seen else []
    detail = "; ".join(part for part in (*parts, shared_text(analysis.configurations, names=(test.name,))) if part)
    stated, difference = factors.stated(test), effect_of(factors, test)
    if stated is None or difference is None:
        return tile(what, Cell("–"), detail)
    ends = (stated.difference, stated.low, stated.high)
    cell = Cell(*ends, n=_replicates(factors), run_ids=factors.run_ids, shown=_shown(difference, test))
    return tile(what, cell, detail)


def _measured(factors: SettingEffects) -> str:
    """Return what effects are measured in, and which way it gets better."""
    objective = factors.items[0].objective
    return measured_text(factors) + measured_in(factors.metric, objective=objective).removeprefix(
        plain_name(factors.metric)
    )


def _shown(difference: Difference, test: SettingTest) -> str:
    """Return an effect with its interval; of one that is seen the verdict has the effect."""
    return difference.interval if test.is_seen and difference.interval else difference.bracketed


def _contrast(factors: SettingEffects, test: SettingTest) -> str:
    """Return between which values an effect is, without those that the verdict names: its own, or the range tried."""
    text = contrast_text(factors, test)
    if text.endswith("the range tried"):
        return "over the range tried"
    between, _, tried = text.partition(" (")
    return f"the largest contrast ({tried}" if test.is_seen else between


def _confidence(factors: SettingEffects, test: SettingTest) -> Row:
    """Return whether the only setting makes a difference."""
    detail = f"tested over {_replicates(factors)} {factors.basis}"
    cell = Cell(test.p_adjusted, run_ids=factors.run_ids, shown=_answer(test))
    return tile(f"Confidence: does {test.name} make a difference?", cell, detail)


def _answer(test: SettingTest) -> str:
    if test.p_adjusted is None:
        return "not tested"
    return f"{'makes a difference' if test.is_seen else 'cannot tell'} ({p_value_text(test.p_adjusted)})"


def _replicates(factors: SettingEffects) -> int:
    return factors.seeds if factors.basis is Basis.SEEDS else len(factors.items)
