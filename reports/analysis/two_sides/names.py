"""What rows of a comparison, and the configurations in them, are called in tables, figures and sentences."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.settings import setting_text, value_text
from nmlab.reports.analysis.two_sides.matching import BEST_OF_SEARCH, MatchedBy, MatchedPair, Matching
from nmlab.reports.read.typed_text import Value


def lead_of(pair: MatchedPair, *, matching: Matching) -> str:
    """Return what a row is about: a method, the best of the search, or ``susi against maskpro``."""
    if matching.by is MatchedBy.ROWS:
        return ", ".join(map(key_text, pair.key))
    if pair.key[:1] == (BEST_OF_SEARCH,):
        return BEST_OF_SEARCH
    first, second = pair.first.method, pair.second.method
    return first if first == second else f"{second} against {first}"


def setting_of_row(pair: MatchedPair, *, matching: Matching) -> str:
    """Return the settings that both configurations of a row have; empty where it holds the best of several."""
    first, second = (setting_text(item, names=matching.settings) for item in pair.sides)
    return first if first == second and not is_best_of_several(pair) else ""


def row_text(pair: MatchedPair, *, matching: Matching, has_patterns: bool = False) -> str:
    """Return a row as one text: ``maskpro: alpha=0.97``."""
    if matching.by is MatchedBy.ROWS:
        return lead_of(pair, matching=matching)
    pattern = [pair.first.pattern] if has_patterns and not pair.first.is_dense else []
    rest = [text for text in (*pattern, setting_of_row(pair, matching=matching)) if text]
    lead = lead_of(pair, matching=matching)
    return f"{lead}: {', '.join(rest)}" if rest else lead


def chosen_text(pair: MatchedPair, *, place: int, matching: Matching) -> str:
    """Return which configuration of a side, 0 or 1, stands in a row: ``maskpro: alpha=0.97 (best of 8)``."""
    item, among = pair.sides[place], pair.among[place]
    setting = setting_text(item, names=matching.settings)
    text = f"{item.method}: {setting}" if setting else item.method
    return f"{text} (best of {among})" if among > 1 else text


def needs_chosen(matching: Matching) -> bool:
    """Return whether rows have to say which configuration of each side stands in them."""
    return any(
        is_best_of_several(pair) or pair.first.method != pair.second.method or not _have_equal_settings(pair, matching)
        for pair in matching.pairs
    )


def has_several_patterns(pairs: Sequence[MatchedPair]) -> bool:
    """Return whether the compared masks have several patterns."""
    return len({item.pattern for pair in pairs for item in pair.sides if not item.is_dense}) > 1


def is_best_of_several(pair: MatchedPair) -> bool:
    """Return whether a side of a row was chosen among several configurations."""
    return max(pair.among) > 1


def key_text(value: Value | None) -> str:
    """Return one value of a row's key as text."""
    if value is None:
        return "–"
    return (value or "dense") if isinstance(value, str) else value_text(value)


def settings_text(item: Configuration, *, matching: Matching) -> str:
    """Return the settings of a configuration that differ among those of the two sides."""
    return setting_text(item, names=matching.settings)


def _have_equal_settings(pair: MatchedPair, matching: Matching) -> bool:
    first, second = (settings_text(item, matching=matching) for item in pair.sides)
    return first == second
