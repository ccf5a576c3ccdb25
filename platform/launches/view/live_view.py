"""What a person sees of a launch: a snapshot as lines of a given width. Pure, so that tests need no terminal."""

from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.view.best_section import best_section
from nmlab.platform.launches.view.groups import has_failed, was_stopped_early
from nmlab.platform.launches.view.replicas import replica_lines
from nmlab.platform.launches.view.texts import clock, listed, shortened
from nmlab.platform.launches.view.trial_sections import every_trial, failed_section, running_section
from nmlab.platform.launches.view.view_line import ViewLine, more, paragraph
from nmlab.trials.contract.run_status import AT_WORK, LaunchStatus, TrialStatus

_BAR = 40
_SHOWN = (6, 3, 1)
"""How many items of a list are shown, the fewer the less room there is."""


def view_lines(snapshot: Snapshot, *, width: int, height: int | None = None) -> list[ViewLine]:
    """Return how a launch stands: progress, the best beside the best baseline, what runs, what failed and why.

    Args:
        snapshot: the launch at one moment.
        width: of the longest line, in cells of a terminal; 20 at least.
        height: the most lines; None is any number. Lists are shortened first, and then the end is left out.
    """
    lines = _view(snapshot, width, _SHOWN[0])
    for shown in _SHOWN[1:]:
        if height is None or len(lines) <= height:
            return lines
        lines = _view(snapshot, width, shown)
    if height is None or len(lines) <= height:
        return lines
    more = f"... {len(lines) - height + 1} more lines"
    return [*lines[: max(0, height - 1)], ViewLine(shortened(more, width), "quiet")][-max(1, height) :]


def status_lines(snapshot: Snapshot, *, width: int) -> list[ViewLine]:
    """Return the view of a launch, and then every trial below the settings of its configuration."""
    lines = [*view_lines(snapshot, width=width), *every_trial(snapshot, width)]
    if snapshot["phase"] in (LaunchStatus.KILLED, LaunchStatus.STOPPED):
        lines += paragraph(f"go on with: nmlab resume {snapshot['launch']}", width, style="strong")
    return lines


def progress_text(snapshot: Snapshot) -> str:
    """Return how long it took, how long it will take, and how many trials are in which state."""
    return f"{_times(snapshot)}; {_counts(snapshot)}"


def _view(snapshot: Snapshot, width: int, shown: int) -> list[ViewLine]:
    sections = (_trouble, best_section, running_section, failed_section)
    lines = _head(snapshot, width)
    for section in sections:
        if found := list(section(snapshot, width, shown)):
            lines += [ViewLine(""), *found]
    return lines


# --- the head ---------------------------------------------------------------------------------------------------------


def _head(snapshot: Snapshot, width: int) -> list[ViewLine]:
    launch, study, phase = snapshot["launch"], snapshot["study"], snapshot["phase"]
    name = launch if launch.startswith(study) else f"{study} {launch}"
    return [
        *paragraph(f"{name}: {phase}", width, style="strong"),
        _bar(snapshot, width),
        *paragraph(progress_text(snapshot), width),
        *(line for text in replica_lines(snapshot) for line in paragraph(text, width, style="quiet")),
    ]


def _bar(snapshot: Snapshot, width: int) -> ViewLine:
    ended, planned = snapshot["ended"], max(1, snapshot["planned"])
    beside = f"  {snapshot['ended']} of {snapshot['planned']} trials"
    cells = min(_BAR, width - len(beside) - 2)
    if cells < 1:
        return ViewLine(shortened(beside.strip(), width))
    done = min(cells, cells * ended // planned)
    return ViewLine(f"[{'#' * done}{'.' * (cells - done)}]{beside}", "bar")


def _times(snapshot: Snapshot) -> str:
    so_far, left = clock(snapshot["elapsed_seconds"]), snapshot["eta_seconds"]
    if snapshot["phase"] not in AT_WORK:
        return f"took {so_far}"
    if left is not None:
        return f"{so_far} so far, about {clock(left)} left"
    return f"{so_far} so far, {_at_least(snapshot)} not measured yet"


def _at_least(snapshot: Snapshot) -> str:
    """Return the lower bound of the time left, and whose pace is missing."""
    least = snapshot.get("eta_at_least")
    if least is None:
        return "time left"
    bound = f"at least {clock(least['seconds'])} left" if least["seconds"] >= 1 else "time left unknown"
    return f"{bound}: {listed(least['unmeasured'], most=_SHOWN[1])}"


def _counts(snapshot: Snapshot) -> str:
    trials = snapshot["trials"].values()
    running_now = sum(trial["status"] == TrialStatus.RUNNING for trial in trials)
    counts = {
        "running": running_now,
        "to come": max(0, snapshot["planned"] - snapshot["ended"] - running_now),
        "finished": sum(trial["status"] == TrialStatus.FINISHED for trial in trials),
        "stopped early": sum(map(was_stopped_early, trials)),
    }
    for trial in filter(has_failed, trials):
        counts[trial["status"]] = counts.get(trial["status"], 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no trial yet"


def _trouble(snapshot: Snapshot, width: int, shown: int) -> list[ViewLine]:
    lines = list(snapshot["trouble"].values())
    found = [line for text in lines[:shown] for line in paragraph(text, width, style="bad")]
    return [*found, *more(len(lines) - shown, "trouble", width)]
