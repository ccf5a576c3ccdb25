"""A launch in a log: lines that are printed once and stay, few enough for launches of many trials."""

from collections.abc import Iterator

from nmlab.platform.launches.confirming import confirmation_line
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.view.best_section import best_text
from nmlab.platform.launches.view.groups import ConfigurationGroup, by_configuration, ended_as, failures
from nmlab.platform.launches.view.live_view import progress_text
from nmlab.platform.launches.view.texts import counted, listed, number, wrapped
from nmlab.trials.contract.run_tags import Role

_EVERY_SECONDS = 5.0
_SUMMARY_SECONDS = 60.0
_MOST = 8
"""How many configurations have a line of their own each time; of others the number is said."""


class LaunchLog:
    """Says what is new in each snapshot: a line for each configuration that ended, each reason of failures once.

    Lines come every five seconds at most, a trouble at once, and a summary every minute in which a trial ended. What
    had ended before the first snapshot is counted in one line.

    Args:
        width: of the longest line, in cells of a terminal.
        only_trouble: say nothing else.
    """

    def __init__(self, *, width: int, only_trouble: bool = False) -> None:
        self._width, self._only_trouble = width, only_trouble
        self._told: set[object] = set()
        self._trouble: set[str] = set()
        self._next: float | None = None
        self._next_summary, self._summed = 0.0, 0

    def update(self, snapshot: Snapshot, *, now: float, is_last: bool = False) -> list[str]:
        """Return the lines to print, given the time in seconds; the last call says what was held back."""
        lines = list(self._begun(snapshot))
        if self._only_trouble:
            return lines
        if self._next is None:
            lines += self._earlier(snapshot, now)
        elif now >= self._next or is_last:
            lines += [line for text in self._news(snapshot) for line in self._line(text)]
            lines += self._summary(snapshot, now, is_last=is_last)
        else:
            return lines
        self._next = now + _EVERY_SECONDS
        return lines

    def _begun(self, snapshot: Snapshot) -> Iterator[str]:
        """Yield a trouble when it begins, and not again while it lasts."""
        trouble = snapshot["trouble"]
        for source in trouble:
            if source not in self._trouble:
                yield from self._line(trouble[source])
        self._trouble = set(trouble)

    def _earlier(self, snapshot: Snapshot, now: float) -> list[str]:
        self._next_summary, self._summed = now + _SUMMARY_SECONDS, snapshot["ended"]
        for group in self._ended(snapshot):
            self._told.add(group.identity)
        self._told |= {failure.identity for failure in failures(snapshot)}
        if not snapshot["ended"]:
            return []
        return self._line(f"{_place(snapshot)} had ended before; {_sentence(snapshot)}")

    def _news(self, snapshot: Snapshot) -> Iterator[str]:
        for failure in failures(snapshot):
            if self._is_new(failure.identity):
                first = failure.configurations[-1]
                seed = first.trials[-1]["seed"]
                yield f"{failure.status}: {_name(first)}, seed {seed}: {failure.reason}"
        groups = [group for group in self._ended(snapshot) if self._is_new(group.identity)]
        for group in groups[:_MOST]:
            yield f"{_place(snapshot)} {_outcome(group)}"
        if len(groups) > _MOST:
            yield f"{_place(snapshot)} and {counted(len(groups) - _MOST, 'configuration')} more"
        if (stopped := snapshot.get("search_stopped")) and self._is_new(stopped):
            yield stopped
        confirmation = snapshot.get("confirmation")
        if confirmation is not None and confirmation["is_chosen"] and self._is_new("confirmation"):
            yield confirmation_line(confirmation)

    def _ended(self, snapshot: Snapshot) -> Iterator[ConfigurationGroup]:
        """Yield the configurations of which all trials have ended."""
        fresh = len(snapshot["confirmation"]["seeds"]) if "confirmation" in snapshot else 0
        for group in by_configuration(snapshot["trials"].values()):
            if group.is_complete(fresh if group.is_confirmation else group.first["replicates"]):
                yield group

    def _summary(self, snapshot: Snapshot, now: float, *, is_last: bool) -> list[str]:
        has_new = snapshot["ended"] != self._summed
        if not has_new or not (is_last or now >= self._next_summary):
            return []
        self._next_summary, self._summed = now + _SUMMARY_SECONDS, snapshot["ended"]
        return self._line(f"{_place(snapshot)} {_sentence(snapshot)}")

    def _is_new(self, identity: object) -> bool:
        if identity in self._told:
            return False
        self._told.add(identity)
        return True

    def _line(self, text: str) -> list[str]:
        return wrapped(text, self._width, rest="    ")


def _place(snapshot: Snapshot) -> str:
    return f"[{snapshot['ended']}/{snapshot['planned']}]"


def _sentence(snapshot: Snapshot) -> str:
    return "; ".join(part for part in (progress_text(snapshot), best_text(snapshot)) if part)


def _name(group: ConfigurationGroup) -> str:
    return f"{group.kind} {group.text()}".strip()


def _outcome(group: ConfigurationGroup) -> str:
    """Return what a configuration reached: its mean and its values, and how many of its trials did not finish."""
    role = "baseline " if group.first["role"] == Role.BASELINE and not group.is_confirmation else ""
    name = f"{'on fresh seeds: ' if group.is_confirmation else ''}{role}{_name(group)}"
    values = [trial["perplexity"] or 0.0 for trial in group.finished()]
    rest = [ended_as(trial) for trial in group.trials if trial not in group.finished()]
    without = ", ".join(f"{rest.count(status)} {status}" for status in dict.fromkeys(rest))
    if not values:
        return f"{name}: {without}"
    mean = number(sum(values) / len(values))
    of_seeds = f" (mean of {listed(map(number, values))})" if len(values) > 1 else ""
    return f"{name}: {mean}{of_seeds}{f'; {without}' if without else ''}"
