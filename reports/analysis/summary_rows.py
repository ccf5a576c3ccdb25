"""The rows of the summary: the dense model, the baselines, and the best of each searched method."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import (
    Configuration,
    baselines,
    best_of,
    competing_group,
    groups_of,
    searched,
)
from nmlab.reports.analysis.pairwise import Competitor, Side
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.trials.contract import run_params


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One row: its configuration, kind, name and setting, the group it competes in, and of how many it is the best.

    ``tried`` counts the configurations of its method, and ``looked_at`` those of all methods of the search.
    """

    item: Configuration
    kind: str
    name: str
    setting: str = ""
    group: Hashable | None = None
    tried: int = 1
    looked_at: int = 0

    @property
    def competitor(self) -> Competitor:
        """The row as it competes for a mark."""
        return Competitor(Side(self.item, self.kind == "initial"), self.group)


def summary_rows_of(configurations: Sequence[Configuration]) -> list[SummaryRow]:
    """Return the rows of the summary, in order."""
    dense = [item for item in baselines(configurations) if item.is_dense]
    summary_rows = [SummaryRow(item, "dense", "dense (no mask)") for item in dense]
    for members in groups_of(configurations).values():
        others = baselines(members)
        for item in others:
            same = [other for other in others if other.method == item.method]
            setting = setting_text(item, names=varying(same))
            summary_rows.append(SummaryRow(item, "baseline", item.method, setting, competing_group(item)))
        everything = searched(members)
        for method in dict.fromkeys(item.method for item in everything):
            own = [item for item in everything if item.method == method]
            summary_rows += _method_rows(own, looked_at=len(everything))
    return summary_rows


def names_of(summary_rows: Sequence[SummaryRow]) -> dict[tuple[str, bool], str]:
    """Return the name of each configuration and each initial mask in the summary."""
    return {(row.item.key, row.kind == "initial"): _name(row) for row in summary_rows}


def _name(row: SummaryRow) -> str:
    return f"{row.name}: {row.setting}" if row.setting and row.kind == "baseline" else row.name


def _method_rows(tried: list[Configuration], *, looked_at: int) -> list[SummaryRow]:
    best = best_of(tried)
    if best is None:
        return []
    setting = setting_text(best, names=varying(tried))
    name = f"{best.method}, best of {len(tried)}" if len(tried) > 1 else best.method
    row = SummaryRow(best, "best", name, setting, competing_group(best), tried=len(tried), looked_at=looked_at)
    summary_rows = [row]
    if best.is_learned:
        start = best.settings.get(run_params.INITIAL_MASK)
        title = f"{best.method}, its initial mask" + (f" ({start})" if start else "")
        summary_rows.insert(0, SummaryRow(best, "initial", title, "", competing_group(best)))
    return summary_rows
