"""The leading columns of a row, which say what its two configurations have in common."""

from dataclasses import dataclass

from nmlab.reports.analysis.two_sides import MatchedBy, MatchedPair, Matching
from nmlab.reports.analysis.two_sides.names import has_several_patterns, key_text, lead_of, setting_of_row
from nmlab.reports.tables.cells import METHOD, PATTERN
from nmlab.reports.values import Cell, Column

SETTING = Column("setting", "setting", help="the settings that differ within a side")


@dataclass(frozen=True, slots=True)
class RowNames:
    """The leading columns, and the cells of a row in them."""

    matching: Matching
    has_patterns: bool

    @classmethod
    def of(cls, matching: Matching) -> "RowNames":
        """Return the names of the rows of a matching."""
        return cls(matching, has_several_patterns(matching.pairs))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns."""
        if self.matching.by is MatchedBy.ROWS:
            return tuple(Column(name, name, help=f"{name} of both configurations") for name in self.matching.names)
        return (METHOD, *([PATTERN] if self.has_patterns else []), SETTING)

    def cells(self, pair: MatchedPair) -> tuple[Cell, ...]:
        """Return the cells of one row."""
        if self.matching.by is MatchedBy.ROWS:
            return tuple(Cell(key_text(value)) for value in pair.key)
        pattern = [Cell("" if pair.first.is_dense else pair.first.pattern)] if self.has_patterns else []
        lead, setting = (of(pair, matching=self.matching) for of in (lead_of, setting_of_row))
        return (Cell(lead), *pattern, Cell(setting))
