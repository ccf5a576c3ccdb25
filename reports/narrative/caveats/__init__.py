"""The caveats of a report, under the heading "Before you trust these numbers"."""

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.narrative.caveats.basis import basis_caveats
from nmlab.reports.narrative.caveats.outcomes import outcome_caveats
from nmlab.reports.narrative.provenance import warnings_of

__all__ = ["caveats_of"]


def caveats_of(analysis: Analysis) -> tuple[str, ...]:
    """Return the caveats of a launch: on its code and weights, the outcomes of its runs, and the basis of its numbers.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    return (
        *warnings_of(analysis.runs, check=analysis.check),
        *outcome_caveats(analysis.configurations),
        *basis_caveats(analysis),
    )
