"""Grid search: every point of a space whose values are listed."""

from nmlab.platform.search.strategy_protocol import Outcome, Proposal
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import grid_points


class GridStrategy:
    """Every point of the grid, in file order."""

    def __init__(self, study: Study) -> None:
        self._points = [Proposal(number, point) for number, point in enumerate(grid_points(study))]
        self._next = 0

    def open(self) -> list[Proposal]:
        return []  # a resumed grid starts from its first point; trials that have ended are not run again

    def failed(self) -> list[Proposal]:
        return []

    def next(self) -> Proposal | None:
        if self._next == len(self._points):
            return None
        self._next += 1
        return self._points[self._next - 1]

    def tell(self, number: int, outcome: Outcome) -> None:
        """Do nothing: a grid does not learn."""
