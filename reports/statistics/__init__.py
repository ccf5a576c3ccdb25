"""Statistics of a comparison: the difference, its interval and test, the kind of noise, the detectable difference.

Two kinds of noise are kept apart and never added. *Training noise* is how much a result moves from seed to seed:
intervals and tests over seeds. *Evaluation noise* is how much it would move on another text of the same kind:
bootstrap and permutation over the windows or questions of one text.
"""

from nmlab.reports.statistics.bootstrap import Bootstrapped, paired_bootstrap
from nmlab.reports.statistics.comparison import Noise, SideComparison, compare_constant, compare_paired, compare_windows
from nmlab.reports.statistics.equivalence import beyond, equivalent
from nmlab.reports.statistics.intervals import CONFIDENCE, MeanEstimate, mean_interval, paired_difference
from nmlab.reports.statistics.multiplicity import adjusted, holm
from nmlab.reports.statistics.power import LEVEL, detectable_by_error, detectable_by_normal, detectable_by_t
from nmlab.reports.statistics.questions import compare_questions, detectable_by_questions, divided, mcnemar
from nmlab.reports.statistics.welch import compare_unpaired
from nmlab.reports.statistics.winning import winner_margin, winner_power

__all__ = [
    "CONFIDENCE",
    "LEVEL",
    "Bootstrapped",
    "MeanEstimate",
    "Noise",
    "SideComparison",
    "adjusted",
    "beyond",
    "compare_constant",
    "compare_paired",
    "compare_questions",
    "compare_unpaired",
    "compare_windows",
    "detectable_by_error",
    "detectable_by_normal",
    "detectable_by_questions",
    "detectable_by_t",
    "divided",
    "equivalent",
    "holm",
    "mcnemar",
    "mean_interval",
    "paired_bootstrap",
    "paired_difference",
    "winner_margin",
    "winner_power",
]
