"""Published numbers versus ours: the configuration that matches each printed row, in the printed unit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import stats

from nmlab.reports.analysis.configurations import Configuration, best_of
from nmlab.reports.analysis.published import PrintedNumber, numbers_of, settings_of
from nmlab.reports.analysis.published.quantities import is_cost, printed_direction, printed_measure, quantity
from nmlab.reports.statistics import MeanEstimate, adjusted
from nmlab.trials.contract import run_params
from nmlab.trials.contract.measures import Direction

MAIN_METRICS = ("wikitext/word_perplexity", "average/acc")
RENAMED = {"samples": run_params.CALIBRATION_SAMPLES}


@dataclass(frozen=True, slots=True)
class Pair:
    """One printed number and our counterpart.

    ``measured`` is the same quantity in the printed unit, None where we did not measure it. ``searched`` is the metric
    that our study reports, for a printed measure of quality. Ranks count from 1, best first, among the rows of one
    model that have both: by ``measured`` where all of them have it, else by ``searched``. A single row has no rank.
    """

    number: PrintedNumber
    item: Configuration | None
    measured: MeanEstimate | None
    searched: MeanEstimate | None
    rank: int | None = None
    our_rank: int | None = None

    @property
    def kind(self) -> tuple[str, str]:
        """The published model and metric, within which rows are ordered."""
        return self.number.model, self.number.metric

    @property
    def has_counterpart(self) -> bool:
        """Whether we have a counterpart of the printed number."""
        return self.measured is not None or self.searched is not None

    @property
    def difference(self) -> float | None:
        """Ours minus the printed value, where both are the same quantity."""
        if self.measured is None or not math.isfinite(self.number.value):
            return None
        return self.measured.mean - self.number.value


def pairs_of(table: str, *, configurations: Sequence[Configuration]) -> tuple[Pair, ...]:
    """Return the printed numbers of a table with ours, in the order of print; for tasks only their average.

    Raises:
        ReportError: no published table of that name.
    """
    numbers = numbers_of(table)
    printed = list(dict.fromkeys(number.metric for number in numbers))
    metrics = [name for name in printed if name in MAIN_METRICS or is_cost(name)] or printed
    pairs = [_pair(number, configurations) for number in numbers if number.metric in metrics]
    return tuple(_ranked(pairs, own) for own in pairs)


def agreement(pairs: Sequence[Pair]) -> dict[tuple[str, str], tuple[float, int]]:
    """Return Kendall's tau between the printed order and ours, by model and metric, with the number of rows."""
    found = {}
    ranked = [pair for pair in pairs if pair.rank is not None]
    for key in dict.fromkeys(pair.kind for pair in ranked):
        own = [pair for pair in ranked if pair.kind == key]
        if len(own) > 2:
            printed, measured = [pair.rank for pair in own], [pair.our_rank for pair in own]
            found[key] = (float(stats.kendalltau(printed, measured).statistic), len(own))
    return found


def order_p_values(pairs: Sequence[Pair]) -> dict[tuple[str, str], float | None]:
    """Return the exact two-sided p-value of each :func:`agreement`, adjusted over all of them; None where undefined."""
    found = {}
    for kind in agreement(pairs):
        own = [pair for pair in pairs if pair.kind == kind and pair.rank is not None]
        p_value = stats.kendalltau([pair.rank for pair in own], [pair.our_rank for pair in own]).pvalue
        found[kind] = None if math.isnan(p_value) else float(p_value)
    return dict(zip(found, adjusted(list(found.values())), strict=True))


def _pair(number: PrintedNumber, configurations: Sequence[Configuration]) -> Pair:
    item = _match(number, configurations)

    def row_like(*, method: str = number.method, setting: str = number.setting) -> Configuration | None:
        return _match(replace(number, method=method, setting=setting), configurations)

    return Pair(
        number=number,
        item=item,
        measured=None if item is None else quantity(number.metric, item, row_like=row_like),
        searched=item.value if item is not None and _is_quality(number.metric) else None,
    )


def _is_quality(metric: str) -> bool:
    """Return whether a printed number measures the quality of a mask, as the metric that we report does."""
    measure = printed_measure(metric)
    return measure is not None and measure.direction is not Direction.NONE


def _match(row: PrintedNumber, configurations: Sequence[Configuration]) -> Configuration | None:
    """Return our best complete configuration of the row's method, pattern and settings."""
    wanted = {RENAMED.get(name, name): value for name, value in settings_of(row.setting).items()}
    fitting = [
        item
        for item in configurations
        if item.method == row.method
        and (item.is_dense or item.pattern == row.pattern)
        and item.is_complete
        and all(_same(item.settings.get(name), value) for name, value in wanted.items())
    ]
    return best_of(fitting)


def _same(own: object, wanted: str) -> bool:
    if own is None:
        return False
    try:
        return float(str(own)) == float(wanted)
    except ValueError:
        return str(own).lower() == wanted.lower()


def _ranked(pairs: Sequence[Pair], own: Pair) -> Pair:
    """Return a pair with its ranks among the masks of the same model and metric that both sides have."""
    peers = [pair for pair in pairs if pair.kind == own.kind and _is_ranked(pair)]
    if own not in peers or len(peers) == 1:
        return own
    has_same_quantity = all(pair.measured is not None for pair in peers)
    sign = 1.0 if printed_direction(own.number.metric) is Direction.LOWER else -1.0
    rank = 1 + sum(sign * pair.number.value < sign * own.number.value for pair in peers)
    standing = [_standing(pair, sign if has_same_quantity else None) for pair in peers]
    our_rank = 1 + sum(other < standing[peers.index(own)] for other in standing)
    return replace(own, rank=rank, our_rank=our_rank)


def _is_ranked(pair: Pair) -> bool:
    return pair.has_counterpart and not math.isnan(pair.number.value) and pair.number.method != "dense"


def _standing(pair: Pair, sign: float | None) -> float:
    """Return a number that is smaller for the better mask: the same quantity, or the metric that we report."""
    if sign is not None:
        assert pair.measured is not None
        return sign * pair.measured.mean
    assert pair.item is not None
    assert pair.searched is not None
    return pair.searched.mean if pair.item.objective.mode == "min" else -pair.searched.mean
