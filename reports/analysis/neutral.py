"""What a configuration reaches on the texts of a study: in-domain, and on texts neutral to the calibration text.

A mask learns a part of its calibration text along with the task, so that its perplexity falls in-domain and not
elsewhere. Each figure therefore stands beside what it is set against: the start, the best rule, the dense model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import (
    Configuration,
    baselines,
    best_of,
    comparable_group,
    evaluation_setting,
    groups_of,
)
from nmlab.reports.analysis.metrics import neutral_metrics
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.starts import has_telling_start
from nmlab.reports.statistics import MeanEstimate, paired_difference
from nmlab.trials.contract.metrics import EVAL, PERPLEXITIES, VALIDATION, text_of

IN_DOMAIN, ON_VALIDATION = f"{EVAL}{PERPLEXITIES[0]}", f"{VALIDATION}{PERPLEXITIES[0]}"


@dataclass(frozen=True, slots=True)
class TextFigures:
    """The perplexity of a configuration on one text, and what it is set against; None where that was not measured.

    Attributes:
        metric: the perplexity of the text.
        own: its mean over the seeds by which the configuration is reported.
        start: that of its own initial masks, where a gain over them is a finding.
        gain: learned minus initial mask, paired by seed.
        rule: the method of the best baseline mask, and its mean.
        dense: of the model without a mask.
        is_selected_on: whether configurations were selected by it.
    """

    metric: str
    own: MeanEstimate
    start: MeanEstimate | None
    gain: MeanEstimate | None
    rule: tuple[str, MeanEstimate] | None
    dense: MeanEstimate | None
    is_selected_on: bool

    @property
    def text(self) -> str:
        """The name of the neutral text; "" in-domain."""
        return text_of(self.metric)


def text_figures(best: Configuration, *, configurations: Sequence[Configuration]) -> tuple[TextFigures, ...]:
    """Return the figures of a configuration, in-domain ones first; none without a neutral text.

    In-domain are the evaluation text and, where starts were measured on it, the validation text.

    Args:
        best: the configuration.
        configurations: all of its launch, best first.
    """
    neutral = neutral_metrics([best])
    if not neutral:
        return ()
    on_validation = (ON_VALIDATION,) if best.as_reported.is_validated else ()
    found = [_figures(best, metric, configurations) for metric in (IN_DOMAIN, *on_validation, *neutral)]
    return tuple(figures for figures in found if figures is not None)


def _figures(best: Configuration, metric: str, configurations: Sequence[Configuration]) -> TextFigures | None:
    shown = best.as_reported
    own = shown.estimate(metric)
    if own is None:
        return None
    setting, group = evaluation_setting(best), comparable_group(best)
    dense = best_of([item for item in configurations if item.is_dense and evaluation_setting(item) == setting])
    members = groups_of(configurations).get(group, [])
    rule = None if best.is_baseline else best_of(baselines(members))
    of_rule = None if rule is None else rule.as_reported.estimate(metric)
    is_telling = shown.is_learned and has_telling_start(best, members=configurations)
    start = Side(shown, is_initial=True).estimate(metric) if is_telling else None
    return TextFigures(
        metric,
        own,
        start=start,
        gain=None if start is None else _gain(shown, metric),
        rule=None if rule is None or of_rule is None else (rule.method, of_rule),
        dense=None if dense is None else dense.as_reported.estimate(metric),
        is_selected_on=metric == best.objective.metric,
    )


def _gain(shown: Configuration, metric: str) -> MeanEstimate | None:
    after, before = Side(shown).values(metric), Side(shown, is_initial=True).values(metric)
    seeds = [seed for seed in after if seed in before]
    if not seeds:
        return None
    return paired_difference([after[seed] for seed in seeds], before=[before[seed] for seed in seeds])
