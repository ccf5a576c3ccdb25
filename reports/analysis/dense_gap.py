"""How far the leader is from the model without a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration, evaluation_setting
from nmlab.reports.analysis.leader import Leader
from nmlab.reports.analysis.metrics import is_compared_by_ratio


@dataclass(frozen=True, slots=True)
class DenseGap:
    """The mean of a mask beside that of the same model without one, on the same text.

    Attributes:
        value: mask over dense, or mask minus dense where the metric is not compared by a ratio.
        difference: mask minus dense.
    """

    mask: Configuration
    dense: Configuration
    value: float
    difference: float

    @property
    def metric(self) -> str:
        """The metric that both are in."""
        return self.mask.objective.reported

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs behind both."""
        return tuple(trial.run_id for item in (self.mask, self.dense) for trial in item.finished)


def dense_gap_of(leader: Leader, *, configurations: Sequence[Configuration]) -> DenseGap | None:
    """Return the gap of the leader; None where no run of the dense model on its text has a value.

    Args:
        leader: of one group.
        configurations: of the launch.
    """
    setting, mask = evaluation_setting(leader.best), leader.shown
    dense = next(
        (item for item in configurations if item.is_dense and item.value and evaluation_setting(item) == setting), None
    )
    if dense is None or dense.value is None or mask.value is None:
        return None
    ours, theirs = mask.value.mean, dense.value.mean
    is_ratio = is_compared_by_ratio(mask.objective.reported) and theirs > 0
    return DenseGap(mask, dense, ours / theirs if is_ratio else ours - theirs, ours - theirs)
