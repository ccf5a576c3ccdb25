"""The effects of the settings that a study varies, in words: whether each makes a difference, and over which range."""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.metrics import is_compared_by_ratio, plain_name
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.effects import NO_DIFFERENCE, SettingEffects, SettingTest
from nmlab.reports.analysis.space.tried_range import factor_between
from nmlab.reports.analysis.statements import quality
from nmlab.reports.narrative.first_screen.differences import Difference, detectable_text, evidence_text
from nmlab.reports.tables.effects import verdict_of

MOST_FACTORS = 3  # settings whose effects a sentence names


def factors_of(analysis: Analysis) -> SettingEffects | None:
    """Return the effects that the verdict names: of a launch in which one method varied a few settings."""
    if len(analysis.effects) != 1 or len({item.method for item in analysis.effects[0].items}) != 1:
        return None
    found = analysis.effects[0]
    methods = {item.method for item in analysis.configurations if not item.is_baseline}
    is_small = 0 < len(found.tests) <= MOST_FACTORS and all(test.p_adjusted is not None for test in found.tests)
    return found if is_small and methods == {found.method} else None


def effect_sentences(found: SettingEffects) -> list[str]:
    """Return which settings make a difference, over which range, and how large a one would have been missed."""
    seen = [test for test in found.tests if test.is_seen]
    narrow = [test for test in found.tests if not test.is_seen and found.is_narrow(test.name)]
    wide = [test for test in found.tests if test not in seen and test not in narrow]
    texts = [_seen(found, seen)] if seen else []
    texts += [_unseen(found, wide, is_first=not texts)] if wide else []
    return [*texts, _narrow(found, narrow, is_first=not texts)] if narrow else texts


def _seen(found: SettingEffects, seen: Sequence[SettingTest]) -> str:
    names, changes = joined([test.name for test in seen], "and"), [_change(found, test) for test in seen]
    return f"{names} {'makes' if len(seen) == 1 else 'make'} a difference: {joined(changes, 'and')}"


def _unseen(found: SettingEffects, unseen: Sequence[SettingTest], *, is_first: bool) -> str:
    names = [f"{test.name} ({range_text(found, test.name)})" for test in unseen]
    if not is_first:
        return f"{joined(names, 'and')} {'makes' if len(names) == 1 else 'make'} none that this study could see"
    if len(names) == 1:
        return f"inconclusive: {names[0]} makes {NO_DIFFERENCE}; {missed_text(found)}"
    none = NO_DIFFERENCE.replace("no", "a", 1)
    return f"inconclusive: neither {joined(names, 'nor')} makes {none}; {missed_text(found)}"


def _narrow(found: SettingEffects, narrow: Sequence[SettingTest], *, is_first: bool) -> str:
    text = joined([too_narrow_text(found, test.name) for test in narrow], "and")
    return f"inconclusive: {text}; no difference was seen, and {missed_text(found)}" if is_first else text


def too_narrow_text(found: SettingEffects, name: str) -> str:
    """Return that the tried values of a setting lie within too small a factor."""
    factor = factor_between(found.tried(name))
    assert factor is not None
    return f"the range tried of {name}, {range_text(found, name)} (a factor of {factor:.2g}), is too narrow to answer"


def missed_text(found: SettingEffects) -> str:
    """Return below which size an effect would mostly have been missed; "" where every setting has a seen one."""
    effects = [found.stated(test) for test in found.tests if not test.is_seen]
    sizes = [effect.detectable for effect in effects if effect is not None]
    if not sizes:
        return ""
    return f"effects below about {detectable_text(max(sizes), metric=found.metric)} would be missed"


def range_text(found: SettingEffects, name: str) -> str:
    """Return what was tried of a setting: ``0.9 to 0.995``, or the texts themselves."""
    values = found.tried(name)
    if any(isinstance(value, str) for value in values):
        return joined([value_text(value) for value in values], "or")
    return f"{value_text(values[0])} to {value_text(values[-1])}"


def effect_text(found: SettingEffects, test: SettingTest) -> str:
    """Return an effect: ``alpha: +1.5% perplexity (...), from 0.9 to 0.99, the range tried; makes a difference``."""
    difference = effect_of(found, test)
    if difference is None:
        return f"{test.name} (tried {range_text(found, test.name)}): {verdict_of(test)}."
    evidence = evidence_text(difference, p_value=test.p_adjusted)
    what = f"{difference.texts[0]} {measured_text(found)}{evidence}"
    return f"{test.name}: {what}, {contrast_text(found, test)}; {verdict_of(test)}."


def effect_of(found: SettingEffects, test: SettingTest) -> Difference | None:
    """Return the effect of a setting as a difference; None where it was not tested."""
    stated = found.stated(test)
    return None if stated is None else Difference(found.metric, stated.difference, stated.low, stated.high)


def contrast_text(found: SettingEffects, test: SettingTest) -> str:
    """Return between which values: ``from 0.9 to 0.97, the largest contrast (tried: 0.9 to 0.995)``."""
    ends, tried = _ends(test), range_text(found, test.name)
    if ends == tried:
        return f"from {ends}, the range tried"
    return f"from {ends}{', the largest contrast' if test.is_largest else ''} (tried: {tried})"


def measured_text(found: SettingEffects) -> str:
    """Return what the effects are measured in: ``validation perplexity at step 300``."""
    return plain_name(found.metric) + (f" at step {found.step:,}" if found.step is not None else "")


def joined(names: Sequence[str], word: str) -> str:
    """Return ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _change(found: SettingEffects, test: SettingTest) -> str:
    difference = effect_of(found, test)
    assert difference is not None
    name = f"{test.name} " if sum(own.is_seen for own in found.tests) > 1 else ""
    return f"{difference.texts[0]} {measured_text(found)} ({_quality(found, difference)}) from {name}{_ends(test)}"


def _quality(found: SettingEffects, difference: Difference) -> str:
    """Return whether an effect is for the better or for the worse."""
    nothing = 1.0 if is_compared_by_ratio(found.metric) else 0.0
    return quality(difference.value - nothing, objective=found.items[0].objective)


def _ends(test: SettingTest) -> str:
    return " to ".join(value_text(value) for value in (test.lower, test.upper) if value is not None)
