"""nmlab: search and ablate learned N:M sparsity masks on frozen language models.

One function for each verb of the command line, under the same name, and four that load what is there:

    >>> import nmlab
    >>> study = nmlab.load_study("quickstart").with_overrides(seeds=[0], search={"samples": 4})
    >>> study.seeds
    (0,)
    >>> plan = nmlab.plan(study)  # nothing is started; it renders as text and in a notebook
    >>> plan.trials
    31
    >>> result = nmlab.sweep(study)  # doctest: +SKIP
    >>> result.configurations  # doctest: +SKIP
    >>> model = result.best().mask.apply()  # doctest: +SKIP

Nothing happens at import, and nothing heavy is imported: each name below loads its module when it is first used.

The packages ``nmlab.platform``, ``nmlab.trials``, ``nmlab.search_spaces`` and ``nmlab.reports`` are folders at the root
of the repository. Here are links to them, which become folders in a wheel.
"""

import logging
from typing import TYPE_CHECKING

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a program that uses nmlab decides what is shown

if TYPE_CHECKING:
    from nmlab.platform.api.browsing import ui
    from nmlab.platform.api.checkup import Check, doctor
    from nmlab.platform.api.cleaning import Cleaned, clean
    from nmlab.platform.api.comparing import MaskDifference, compare, diff, scale
    from nmlab.platform.api.comparison import Comparison
    from nmlab.platform.api.evaluating import Evaluation, evaluate
    from nmlab.platform.api.exporting import Export, export
    from nmlab.platform.api.launch_status import Status, status
    from nmlab.platform.api.listings import Hyperparameter, MethodInfo, StudyInfo, methods, studies
    from nmlab.platform.api.lookup import load_result
    from nmlab.platform.api.masks import Mask, load_mask, load_model
    from nmlab.platform.api.new import new
    from nmlab.platform.api.plans import Plan, plan
    from nmlab.platform.api.reporting import Report, ReportIndex, report
    from nmlab.platform.api.results import Configuration, Trial
    from nmlab.platform.api.running import run
    from nmlab.platform.api.study import Study, load_study
    from nmlab.platform.api.submitting import submit
    from nmlab.platform.api.sweep_result import SweepResult
    from nmlab.platform.api.sweeping import SweepInterrupted, extend, resume, sweep
    from nmlab.platform.launches.endings import HeadLostError, RefusedError, SweepError
    from nmlab.platform.launches.ownership import OwnedError
    from nmlab.platform.process.interruption import RunInterrupted
    from nmlab.reports.read.errors import ReportError
    from nmlab.search_spaces.reading.problems import StudyError
    from nmlab.trials.contract.errors import SourceError
    from nmlab.trials.export.exporter import ExportError

    __version__: str

_API = "nmlab.platform.api"
_HOME = {
    # The verbs of the command line.
    "clean": f"{_API}.cleaning",
    "compare": f"{_API}.comparing",
    "diff": f"{_API}.comparing",
    "doctor": f"{_API}.checkup",
    "evaluate": f"{_API}.evaluating",
    "export": f"{_API}.exporting",
    "extend": f"{_API}.sweeping",
    "methods": f"{_API}.listings",
    "new": f"{_API}.new",
    "plan": f"{_API}.plans",
    "report": f"{_API}.reporting",
    "resume": f"{_API}.sweeping",
    "run": f"{_API}.running",
    "scale": f"{_API}.comparing",
    "status": f"{_API}.launch_status",
    "studies": f"{_API}.listings",
    "submit": f"{_API}.submitting",
    "sweep": f"{_API}.sweeping",
    "ui": f"{_API}.browsing",
    # What is there already.
    "load_mask": f"{_API}.masks",
    "load_model": f"{_API}.masks",
    "load_result": f"{_API}.lookup",
    "load_study": f"{_API}.study",
    # Values.
    "Check": f"{_API}.checkup",
    "Cleaned": f"{_API}.cleaning",
    "Comparison": f"{_API}.comparison",
    "Configuration": f"{_API}.results",
    "Evaluation": f"{_API}.evaluating",
    "Export": f"{_API}.exporting",
    "Hyperparameter": f"{_API}.listings",
    "Mask": f"{_API}.masks",
    "MaskDifference": f"{_API}.comparing",
    "MethodInfo": f"{_API}.listings",
    "Plan": f"{_API}.plans",
    "Report": f"{_API}.reporting",
    "ReportIndex": f"{_API}.reporting",
    "Status": f"{_API}.launch_status",
    "Study": f"{_API}.study",
    "StudyInfo": f"{_API}.listings",
    "SweepResult": f"{_API}.sweep_result",
    "Trial": f"{_API}.results",
    # Errors. All that are about what was given are ValueErrors with one line for each problem.
    "ExportError": "nmlab.trials.export.exporter",
    "HeadLostError": "nmlab.platform.launches.endings",
    "OwnedError": "nmlab.platform.launches.ownership",
    "RefusedError": "nmlab.platform.launches.endings",
    "ReportError": "nmlab.reports.read.errors",
    "SourceError": "nmlab.trials.contract.errors",
    "StudyError": "nmlab.search_spaces.reading.problems",
    "SweepError": "nmlab.platform.launches.endings",
    "RunInterrupted": "nmlab.platform.process.interruption",
    "SweepInterrupted": f"{_API}.sweeping",
}
"""The module that each public name is loaded from when it is first used."""

__all__ = [
    "Check",
    "Cleaned",
    "Comparison",
    "Configuration",
    "Evaluation",
    "Export",
    "ExportError",
    "HeadLostError",
    "Hyperparameter",
    "Mask",
    "MaskDifference",
    "MethodInfo",
    "OwnedError",
    "Plan",
    "RefusedError",
    "Report",
    "ReportError",
    "ReportIndex",
    "RunInterrupted",
    "SourceError",
    "Status",
    "Study",
    "StudyError",
    "StudyInfo",
    "SweepError",
    "SweepInterrupted",
    "SweepResult",
    "Trial",
    "__version__",
    "clean",
    "compare",
    "diff",
    "doctor",
    "evaluate",
    "export",
    "extend",
    "load_mask",
    "load_model",
    "load_result",
    "load_study",
    "methods",
    "new",
    "plan",
    "report",
    "resume",
    "run",
    "scale",
    "status",
    "studies",
    "submit",
    "sweep",
    "ui",
]

if not TYPE_CHECKING:  # a type checker would take every name for a public one

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return _version()
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Return the installed version; a package that was shipped to a cluster carries no metadata."""
    from importlib import metadata

    try:
        return metadata.version("nmlab")
    except metadata.PackageNotFoundError:
        return "unknown"
