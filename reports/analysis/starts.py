"""Whether the gain of a trained mask over its initial mask is a finding; over random logits it is not."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, comparable_group
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.trials.contract import run_params

RANDOM_STARTS = ("random", "none")  # initial masks that no rule chose
FAR_BEHIND_RULES = 2.0  # times the perplexity of the worst rule of the group
FAR_BEHIND_LEARNED = 10.0  # times that of the learned mask, where no rule was run


def has_telling_start(item: Configuration, *, members: Sequence[Configuration]) -> bool:
    """Return whether a gain over a configuration's own initial mask is a finding.

    It is not where the start was drawn at random, or where its perplexity is far worse than that of every rule.

    Args:
        item: a configuration that learned.
        members: configurations of the same launch, rules among them.
    """
    if str(item.settings.get(run_params.INITIAL_MASK, "")).lower() in RANDOM_STARTS:
        return False
    start, learned = item.initial, item.selection
    if start is None or learned is None or not is_compared_by_ratio(item.objective.metric):
        return True
    rules = [rule.selection.mean for rule in rules_of(item, members=members) if rule.selection is not None]
    limit = FAR_BEHIND_RULES * max(rules) if rules else FAR_BEHIND_LEARNED * learned.mean
    return start.mean <= limit


def rules_of(item: Configuration, *, members: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """Return the baselines that may be compared with a configuration, the dense model left out."""
    group = comparable_group(item)
    return tuple(rule for rule in baselines(members) if not rule.is_dense and comparable_group(rule) == group)
