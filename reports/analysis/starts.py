"""Whether the gain of a trained mask over its initial mask is a finding, and which runs ended where they started.

Over random logits a gain is no finding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration, baselines, comparable_group
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.trials.contract import run_params

RANDOM_STARTS = ("random", "none")  # initial masks that no rule chose
FAR_BEHIND_RULES = 2.0  # times the perplexity of the worst rule of the group
SAME_RESULT = 1e-9  # relative; what a result may change by that is written and read again
FAR_BEHIND_LEARNED = 10.0  # times that of the learned mask, where no rule was run


@dataclass(frozen=True, slots=True)
class Unmoved:
    """Runs whose result is that of the mask they started from.

    Attributes:
        configurations: those with such runs, on fresh seeds or not, as they are ordered.
        runs: the ids of these runs.
        learned: how many finished runs have a start to compare with.
    """

    configurations: tuple[Configuration, ...]
    runs: tuple[str, ...]
    learned: int

    @property
    def are_most(self) -> bool:
        """Whether these are at least half of the runs, so that a comparison of settings mostly compares starts."""
        return bool(self.runs) and 2 * len(self.runs) >= self.learned


def unmoved_of(configurations: Sequence[Configuration]) -> Unmoved:
    """Return the finished runs that ended with the result of their own start, on the text of the start.

    The same mask gives the same number, and another mask hardly ever does, so no mask needs to be read.
    """
    pairs = [
        (item, trial, trial.metric(item.objective.metric), trial.metric(item.objective.initial))
        for item in configurations
        for trial in item.every_trial
        if trial.is_finished and item.objective.initial in trial.metrics
    ]
    known = [pair for pair in pairs if math.isfinite(pair[2]) and math.isfinite(pair[3])]
    same = [pair for pair in known if math.isclose(pair[2], pair[3], rel_tol=SAME_RESULT)]
    items = {item.key: item for item, *_ in same}
    return Unmoved(tuple(items.values()), tuple(trial.run_id for _, trial, *_ in same), len(known))


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
