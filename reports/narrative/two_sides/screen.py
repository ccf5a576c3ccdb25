"""The first screen of a comparison: the verdict, what A and B are, four tiles, and what to know before trusting it."""

from nmlab.reports.analysis.two_sides import LETTERS, TwoSides, finding_text
from nmlab.reports.analysis.two_sides.names import chosen_text, needs_chosen, row_text
from nmlab.reports.narrative.first_screen import FirstScreen
from nmlab.reports.narrative.two_sides.amounts import bracketed_change
from nmlab.reports.narrative.two_sides.caveats import trust_lines_of
from nmlab.reports.narrative.two_sides.sentences import DECIDED, verdict_of
from nmlab.reports.narrative.two_sides.tiles import by_size, tiles_of
from nmlab.reports.values import counted

MOST_NAMED = 3  # pairs that differ, by name


def first_screen_of_sides(found: TwoSides) -> FirstScreen:
    """Return the first screen of two compared sides."""
    decided = [item for item in found.leading if item.finding in DECIDED]
    are_equal = bool(found.leading) and all(item.finding == "equal" for item in found.leading)
    return FirstScreen(
        verdict=verdict_of(found),
        is_decided=bool(decided) or are_equal,
        findings=tuple(_configurations(found) if len(found.leading) == 1 else _largest(found)),
        tiles=tiles_of(found),
        trust=trust_lines_of(found),
    )


def _configurations(found: TwoSides) -> list[str]:
    """Return which configuration of each side is compared, where the sides' names do not say it."""
    pair, matching = found.leading[0].pair, found.matching
    if not needs_chosen(matching):
        return [f"A and B: {row_text(pair, matching=matching)} ({pair.first.key} and {pair.second.key})."]
    return [
        f"{letter}: {chosen_text(pair, place=place, matching=matching)}, configuration {pair.sides[place].key}."
        for place, letter in enumerate(LETTERS)
    ]


def _largest(found: TwoSides) -> list[str]:
    """Return the pairs that differ, the largest first."""
    own = [item for item in by_size(found) if item.finding in DECIDED]
    texts = [
        f"{row_text(item.pair, matching=found.matching)}: {finding_text(item)}, {bracketed_change(item)}."
        for item in own[:MOST_NAMED]
    ]
    left = len(own) - MOST_NAMED
    return [*texts, f"{counted(left, noun='more pair')} in the table."] if left > 0 else texts
