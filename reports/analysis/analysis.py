"""The analysis of one launch, computed once; tables, figures and sentences of its report use it."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nmlab.reports.analysis.budgets import EqualBudget, FrontPoint, equal_budgets, front_points
from nmlab.reports.analysis.claims import Judgement, judgements_of
from nmlab.reports.analysis.claims.select import planned_values_of
from nmlab.reports.analysis.configurations import Configuration, configurations_of, searched
from nmlab.reports.analysis.evaluation_check import EvaluationCheck, check_evaluations
from nmlab.reports.analysis.leader import Leader, leaders_of
from nmlab.reports.analysis.masks.overlaps import overlap
from nmlab.reports.analysis.metrics import evaluation_metrics
from nmlab.reports.analysis.pairwise import (
    Confirmed,
    PairwiseComparison,
    Side,
    Winner,
    compared_with_best,
    confirmed_of,
    winners_of,
)
from nmlab.reports.analysis.published import published_tables
from nmlab.reports.analysis.published.versus_published import Pair, pairs_of
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.reports.analysis.space.effects import SettingEffects, setting_effects
from nmlab.reports.analysis.summary_rows import SummaryRow, names_of, summary_rows_of
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.evaluations import MaskLosses, RunEvaluation, read_evaluations, read_mask_losses
from nmlab.reports.read.masks import PackedMask, read_masks
from nmlab.reports.read.store import RunStore

LOSS_MASKS = "loss_masks"


@dataclass(frozen=True)
class Analysis:
    """The analysis of one launch.

    Attributes:
        summary_rows: the rows of the summary.
        evaluations: losses by window and outcomes by question of the runs of these rows, by run id, as far as kept.
        check: whether the recorded perplexities agree with them; None where no run kept any.
        comparisons: for each metric of the summary, the rows of each group against its best.
        winners: for each group of comparable masks, the best searched configuration against all others of the search.
        confirmed: for each group whose best ran again on fresh seeds, the best against other finalists and baselines.
        effects: the effect of each setting that the search varied, by group and method.
        budgets: the result of each method at the same budget.
        front: every complete configuration with the fronts of quality against cost that it is on.
        masks: the masks of the rows and the initial masks of trials, by run id and layer, as far as kept.
        mask_losses: losses of masks drawn from the final logits of one run of the best configuration that drew some.
        judgements: the verdicts of the study on the papers' claims.
        pairs: printed numbers with ours, for each published table that the study reproduces.
    """

    runs: StudyRuns
    configurations: tuple[Configuration, ...]
    summary_rows: tuple[SummaryRow, ...]
    evaluations: Mapping[str, RunEvaluation]
    check: EvaluationCheck | None
    comparisons: Mapping[str, Mapping[Hashable, tuple[PairwiseComparison, ...]]]
    winners: Mapping[Hashable, Winner]
    confirmed: Mapping[Hashable, Confirmed]
    effects: tuple[SettingEffects, ...]
    budgets: tuple[EqualBudget, ...]
    front: tuple[FrontPoint, ...]
    masks: Mapping[str, Mapping[str, PackedMask]]
    mask_losses: MaskLosses | None
    judgements: tuple[Judgement, ...]
    pairs: Mapping[str, tuple[Pair, ...]]

    @cached_property
    def decisive_comparisons(self) -> Mapping[Hashable, tuple[PairwiseComparison, ...]]:
        """The comparisons in the reported metric: on fresh seeds where there are any, otherwise over the summary."""
        fresh = {group: own.compared for group, own in self.confirmed.items() if own.compared}
        return {**self.comparisons[self.runs.objective.reported], **fresh}

    @cached_property
    def leaders(self) -> tuple[Leader, ...]:
        """The leader of each group of comparable masks."""
        return leaders_of(
            self.configurations,
            winners=self.winners,
            confirmed=self.confirmed,
            compared=self.decisive_comparisons,
            evaluations=self.evaluations,
        )

    @cached_property
    def names(self) -> dict[tuple[str, bool], str]:
        """The name of each compared configuration and initial mask, as in the summary; other finalists by setting."""
        finalists = [item for own in self.confirmed.values() for item in own.finalists]
        return {(item.key, False): _name(item, self.configurations) for item in finalists} | names_of(self.summary_rows)


def analyse(store: RunStore, *, runs: StudyRuns) -> Analysis:
    """Read evaluations and masks of a launch and analyse it.

    Raises:
        ReportError: a corrupted artifact.
    """
    configurations = configurations_of(runs)
    summary_rows = tuple(summary_rows_of(configurations))
    items = {row.item.key: row.item for row in summary_rows}.values()
    again = [item.confirmation for item in configurations if item.confirmation is not None]
    trials = [trial for item in (*items, *again) for trial in item.finished]
    found = read_evaluations(store, run_ids=[trial.run_id for trial in trials])
    evaluations = {run_id: item for run_id, item in found.items() if item is not None}
    evaluations |= _evaluations_of_the_fixed(store, configurations, known=found)
    metrics = {runs.objective.reported, *evaluation_metrics(configurations, objective=runs.objective)}
    masks = read_masks(store, run_ids=_masks_wanted(summary_rows, runs))
    reproduces = runs.launch.reproduces
    return Analysis(
        runs=runs,
        configurations=configurations,
        summary_rows=summary_rows,
        evaluations=evaluations,
        check=check_evaluations(found, trials=trials),
        comparisons=compared_with_best(
            [row.competitor for row in summary_rows], metrics=sorted(metrics), evaluations=evaluations
        ),
        winners=winners_of(configurations, evaluations=evaluations, progress=runs.progress),
        confirmed=confirmed_of(configurations, evaluations=evaluations),
        effects=setting_effects(configurations, progress=runs.progress),
        budgets=equal_budgets(configurations, progress=runs.progress),
        front=front_points(configurations),
        masks=masks,
        mask_losses=_mask_losses(store, configurations),
        judgements=judgements_of(
            configurations,
            reproduces=reproduces,
            evaluations=evaluations,
            overlaps=_overlaps(summary_rows, masks),
            planned_values=planned_values_of(runs.launch.params),
        ),
        pairs=_pairs(reproduces, configurations),
    )


def _name(item: Configuration, configurations: Sequence[Configuration]) -> str:
    same = [other for other in searched(configurations) if other.method == item.method]
    setting = setting_text(item, names=varying(same))
    return f"{item.method}, {setting}" if setting else item.method


def _evaluations_of_the_fixed(
    store: RunStore, configurations: Sequence[Configuration], *, known: Mapping[str, RunEvaluation | None]
) -> dict[str, RunEvaluation]:
    """Read the evaluations of searched configurations without training noise, which are tested over windows."""
    fixed = [item for item in searched(configurations) if not Side(item).has_training_noise]
    run_ids = [trial.run_id for item in fixed for trial in item.finished if trial.run_id not in known]
    read = read_evaluations(store, run_ids=run_ids)
    return {run_id: item for run_id, item in read.items() if item is not None}


def _pairs(reproduces: Sequence[str], configurations: Sequence[Configuration]) -> dict[str, tuple[Pair, ...]]:
    """Return printed numbers with ours, table by table; a published figure has no printed numbers."""
    tables = [item for item in reproduces if item in published_tables()]
    return {table: pairs_of(table, configurations=configurations) for table in tables}


def _mask_losses(store: RunStore, configurations: Sequence[Configuration]) -> MaskLosses | None:
    """Read the losses of masks that one run drew: the first of the best configuration with ``loss_masks`` (MaskPro)."""
    asked = [item for item in searched(configurations) if float(str(item.settings.get(LOSS_MASKS, 0))) > 0]
    run_ids = [trial.run_id for item in asked for trial in item.finished]
    return read_mask_losses(store, run_id=run_ids[0]) if run_ids else None


def _masks_wanted(summary_rows: Sequence[SummaryRow], runs: StudyRuns) -> list[str]:
    """Return the runs whose masks are read: the first seed of every row, initial masks, then other seeds."""
    items = list({row.item.key: row.item for row in summary_rows if not row.item.is_dense}.values())
    seeds = [[trial.run_id for trial in item.finished] for item in items]
    starts = [start.run_id for start in runs.initial_masks]
    return [*(own[0] for own in seeds if own), *starts, *(run_id for own in seeds for run_id in own[1:])]


def _overlaps(
    summary_rows: Sequence[SummaryRow], masks: Mapping[str, Mapping[str, PackedMask]]
) -> dict[tuple[str, str], float]:
    """Return the overlap of every two runs of different rows."""
    keys = {trial.run_id: row.item.key for row in summary_rows for trial in row.item.finished}
    own = [run_id for run_id in masks if run_id in keys]
    pairs = [(first, second) for first in own for second in own if keys[first] != keys[second]]
    shares = {pair: overlap(masks[pair[0]], second=masks[pair[1]]) for pair in pairs}
    return {pair: share for pair, share in shares.items() if share is not None}
