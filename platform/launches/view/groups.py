"""The trials of a snapshot by configuration, and those that did not finish by their reason."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nmlab.platform.launches.snapshot import Snapshot, TrialSnapshot
from nmlab.trials.contract.run_status import STOPPED_EARLY, TrialStatus

_FAILED = (TrialStatus.DIVERGED, TrialStatus.OOM, TrialStatus.FAILED)
_NUMBER = re.compile(r"[-+]?\d[\d.,e+-]*")


@dataclass(frozen=True)
class ConfigurationGroup:
    """The trials of a configuration: its seeds in the search, or those that confirm it."""

    trials: tuple[TrialSnapshot, ...]

    @property
    def first(self) -> TrialSnapshot:
        return self.trials[0]

    @property
    def is_confirmation(self) -> bool:
        return bool(self.first.get("confirmation"))

    @property
    def identity(self) -> tuple[str, bool]:
        """What tells it from other groups of its launch."""
        return self.first["configuration"], self.is_confirmation

    @property
    def kind(self) -> str:
        """Its method and pattern."""
        if "method" not in self.first:  # written by an earlier version
            return ""
        return f"{self.first['method']} {self.first['pattern']}"

    def text(self, *, without: Mapping[str, str] | None = None) -> str:
        """Return its settings, those of ``without`` left out; its label where a status does not hold them."""
        if "settings" not in self.first:
            return self.first["label"]
        return settings_text(self.first["settings"], without=without or {})

    def finished(self) -> list[TrialSnapshot]:
        """Return the trials that finished, with a value."""
        return [
            trial
            for trial in self.trials
            if trial["status"] == TrialStatus.FINISHED and trial["perplexity"] is not None
        ]

    def is_complete(self, planned: int) -> bool:
        """Return whether as many trials as are ``planned`` have ended."""
        return len(self.trials) >= planned and all(trial["ended"] for trial in self.trials)


@dataclass(frozen=True)
class FailureGroup:
    """The trials that ended in one way for one reason; reasons that differ in numbers alone count as one."""

    status: str
    reason: str
    """Of the last trial among them."""
    configurations: tuple[ConfigurationGroup, ...]

    @property
    def count(self) -> int:
        return sum(len(group.trials) for group in self.configurations)

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from other groups of its launch."""
        return _reason_key(self.status, self.reason)


def by_configuration(trials: Iterable[TrialSnapshot]) -> list[ConfigurationGroup]:
    """Return trials by configuration, in the order in which the configurations came."""
    found: dict[tuple[str, bool], list[TrialSnapshot]] = {}
    for trial in trials:
        found.setdefault((trial["configuration"], bool(trial.get("confirmation"))), []).append(trial)
    return [ConfigurationGroup(tuple(members)) for members in found.values()]


def running(snapshot: Snapshot) -> list[ConfigurationGroup]:
    """Return the trials that run, by configuration."""
    return by_configuration(trial for trial in snapshot["trials"].values() if trial["status"] == TrialStatus.RUNNING)


def failures(snapshot: Snapshot) -> list[FailureGroup]:
    """Return the trials that did not finish, by reason, the most frequent first; none that the search stopped early."""
    found: dict[tuple[str, str], list[TrialSnapshot]] = {}
    for trial in snapshot["trials"].values():
        if has_failed(trial):
            found.setdefault(_reason_key(trial["status"], trial["reason"]), []).append(trial)
    groups = [
        FailureGroup(members[-1]["status"], members[-1]["reason"], tuple(by_configuration(members)))
        for members in found.values()
    ]
    return sorted(groups, key=lambda group: -group.count)


def has_failed(trial: TrialSnapshot) -> bool:
    """Return whether a trial ended without a result, and not because the search stopped its configuration."""
    return trial["status"] in _FAILED or (trial["status"] == TrialStatus.STOPPED and not was_stopped_early(trial))


def was_stopped_early(trial: TrialSnapshot) -> bool:
    """Return whether the search stopped the configuration of a trial."""
    return trial["status"] == TrialStatus.STOPPED and trial["reason"].startswith(STOPPED_EARLY)


def ended_as(trial: TrialSnapshot) -> str:
    """Return how a trial ended, in the words of the view."""
    return STOPPED_EARLY if was_stopped_early(trial) else trial["status"]


def shared_settings(groups: Sequence[ConfigurationGroup]) -> dict[str, str]:
    """Return the settings that several configurations have in common; of a single one none is common."""
    if len(groups) < 2:
        return {}
    every = [group.first.get("settings", {}) for group in groups]
    return {name: value for name, value in every[0].items() if all(settings.get(name) == value for settings in every)}


def settings_text(settings: Mapping[str, str], *, without: Mapping[str, str] | None = None) -> str:
    """Return settings as ``name=value`` with spaces between them."""
    return " ".join(f"{name}={value}" for name, value in settings.items() if name not in (without or {}))


def _reason_key(status: str, reason: str) -> tuple[str, str]:
    return status, _NUMBER.sub("#", reason)
