"""What the mean of a selected configuration owes to its selection: luck of the text, luck of its seeds, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration, best_of, groups_of, searched
from nmlab.reports.analysis.metrics import is_counted
from nmlab.reports.analysis.pairwise import Side


@dataclass(frozen=True, slots=True)
class SelectionBias:
    """How the best configuration of a launch was selected.

    Attributes:
        tried: the configurations that it is the best of; of several groups the most.
        of_text: whether it was selected on the text, or by the quantity, that reports it.
        of_seeds: whether it was selected by the seeds that report it, and depends on them.
    """

    tried: int
    of_text: bool
    of_seeds: bool


def selection_bias_of(configurations: Sequence[Configuration]) -> SelectionBias | None:
    """Return how the best of each group was selected; None where that makes no mean optimistic.

    That is where there is no choice, where the metric is counted, or where another text selected and the mean is over
    fresh seeds, or over runs that do not depend on the seed.

    Args:
        configurations: of one launch, best first.
    """
    groups = [members for members in groups_of(searched(configurations)).values() if len(members) > 1]
    if not groups or is_counted(groups[0][0].objective.metric):
        return None
    leaders = [best for members in groups if (best := best_of(members)) is not None]
    of_text = not groups[0][0].objective.selects_on_validation
    of_seeds = any(not best.is_confirmed and Side(best).has_training_noise for best in leaders)
    return SelectionBias(max(map(len, groups)), of_text, of_seeds) if of_text or of_seeds else None
