"""Caveats on the outcomes of runs: diverged and where, stopped early, failed, lacking, or ended where they began."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.space.diverged_region import diverged_region
from nmlab.reports.analysis.starts import unmoved_of
from nmlab.reports.narrative.unmoved_words import unmoved_text
from nmlab.reports.values import counted
from nmlab.trials.contract.run_status import TrialStatus

NAMED = 4
ALTERNATIVES = 2


def outcome_caveats(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the caveats on runs that are in no mean.

    Args:
        configurations: of one launch.
    """
    found = (
        _diverged(configurations),
        _stopped_early(configurations),
        _failed(configurations),
        _lacking(configurations),
        _fresh(configurations),
        _unmoved(configurations),
    )
    return tuple(text for text in found if text)


def _diverged(configurations: Sequence[Configuration]) -> str:
    """Return how many runs diverged, and in which region of the space."""
    items = [item for item in configurations if item.count(TrialStatus.DIVERGED)]
    if not items:
        return ""
    number = sum(item.count(TrialStatus.DIVERGED) for item in items)
    runs = sum(len(item.trials) for item in configurations)
    regions = diverged_region(searched(configurations))
    if regions and all(not item.is_baseline for item in items):
        where = regions[0].text
        others = [region.condition for region in regions[1:ALTERNATIVES]]
        where += f" (equally well described by {', '.join(others)})" if others else ""
    else:
        where = f"in {counted(len(items), noun='configuration')}: {_names(items)}"
    return f"{number} of {counted(runs, noun='run')} diverged, {where}. Means leave out diverged runs."


def _stopped_early(configurations: Sequence[Configuration]) -> str:
    items = [item for item in configurations if item.pruned]
    if not items:
        return ""
    runs, all_tried = sum(item.pruned for item in items), len(searched(configurations))
    verb = "was" if len(items) == 1 else "were"
    return (
        f"{len(items)} of {counted(all_tried, noun='searched configuration')} {verb} stopped early "
        f"({counted(runs, noun='run')}): evaluated on a part of the steps only, and so not ranked."
    )


def _failed(configurations: Sequence[Configuration]) -> str:
    words = {TrialStatus.FAILED: "failed", TrialStatus.OOM: "ran out of memory"}
    shown = [
        f"{counted(number, noun='run')} {word}"
        for status, word in words.items()
        if (number := sum(item.count(status) for item in configurations))
    ]
    return f"Left out of all means: {' and '.join(shown)}." if shown else ""


def _lacking(configurations: Sequence[Configuration]) -> str:
    """Return the configurations with some finished runs and some that did not finish or never began."""
    items = [item for item in configurations if 0 < len(item.finished) < item.runs_in_all and not item.pruned]
    if not items:
        return ""
    verb, rank = ("lacks", "has no rank") if len(items) == 1 else ("lack", "have no rank")
    return f"{counted(len(items), noun='configuration')} {verb} a run, and so {rank}: {_names(items)}."


def _fresh(configurations: Sequence[Configuration]) -> str:
    """Return how many runs on fresh seeds did not finish, and of which configurations."""
    again = [item.confirmation for item in configurations if item.confirmation is not None]
    items = [item for item in again if not item.is_complete]
    if not items:
        return ""
    in_all, finished = sum(item.runs_in_all for item in again), sum(len(item.finished) for item in again)
    return f"{in_all - finished} of {counted(in_all, noun='run')} on fresh seeds did not finish: {_names(items)}."


def _unmoved(configurations: Sequence[Configuration]) -> str:
    """Return how many runs ended where they started, and of which configurations."""
    found = unmoved_of(configurations)
    if not found.runs:
        return ""
    left = len(found.configurations) - NAMED
    keys = ", ".join(item.key for item in found.configurations[:NAMED]) + (f" and {left} more" if left > 0 else "")
    return (
        f"{unmoved_text(found)} ({counted(len(found.configurations), noun='configuration')}: {keys}): no step changed "
        "their mask, or what it changed did not matter."
    )


def _names(items: Sequence[Configuration]) -> str:
    left = len(items) - NAMED
    shown = ", ".join(f"{item.key} ({len(item.finished)} of {item.runs_in_all} finished)" for item in items[:NAMED])
    return shown + (f" and {left} more" if left > 0 else "")
