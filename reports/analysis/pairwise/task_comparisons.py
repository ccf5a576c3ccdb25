"""Comparisons in the measures of tasks, with what their questions alone tell."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.metrics import is_compared_by_ratio, is_of_task
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison
from nmlab.reports.analysis.pairwise.evaluation import divided_questions
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import SideComparison, adjusted


@dataclass(frozen=True)
class TaskComparison:
    """One mask against the best in one measure of a task.

    Attributes:
        comparison: the two sides, with the deciding test.
        p_questions: whether these masks differ, over questions, adjusted over all comparisons of tasks.
        divided: the questions on which the mask did better than the best, and on which worse; None where unknown.
    """

    comparison: PairwiseComparison
    p_questions: float | None
    divided: tuple[int, int] | None

    @property
    def stated(self) -> SideComparison | None:
        """The comparison whose detectable difference is stated: the deciding one, else that over questions."""
        return self.comparison.decisive or self.comparison.evaluation


def task_comparisons(
    comparisons: Mapping[str, Mapping[Hashable, Sequence[PairwiseComparison]]],
    *,
    evaluations: Mapping[str, RunEvaluation],
) -> tuple[TaskComparison, ...]:
    """Return the comparisons in measures of tasks that are no perplexities.

    Args:
        comparisons: of every metric, by group.
        evaluations: outcomes of questions by run id.
    """
    found = [
        item
        for metric, groups in comparisons.items()
        if is_of_task(metric) and not is_compared_by_ratio(metric)
        for group in groups.values()
        for item in group
    ]
    p_values = adjusted([item.evaluation.p_value if item.evaluation else None for item in found])
    return tuple(
        TaskComparison(
            item,
            p_value,
            divided_questions(item.side, second=item.reference, metric=item.metric, evaluations=evaluations),
        )
        for item, p_value in zip(found, p_values, strict=True)
    )
