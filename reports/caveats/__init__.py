"""Before you trust these numbers: everything that a reader must know, in sentences."""

from nmlab.reports.analysis import Analysis
from nmlab.reports.caveats.basis import basis_caveats
from nmlab.reports.caveats.outcomes import outcome_caveats
from nmlab.reports.caveats.region import Region, diverged_region
from nmlab.reports.provenance import warnings_of

__all__ = ["Region", "caveats_of", "diverged_region"]


def caveats_of(analysis: Analysis) -> tuple[str, ...]:
    """Return the caveats of a launch: what its code and weights were, what became of its runs, what numbers rest on.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    return (
        *warnings_of(analysis.runs, check=analysis.check),
        *outcome_caveats(analysis.configurations),
        *basis_caveats(analysis),
    )
