"""Results and models that a function is given: by name, file or value."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from nmlab.platform.api.results import Configuration, Trial
from nmlab.platform.api.sweep_result import SweepResult

Target: TypeAlias = str | Path | Trial | Configuration | SweepResult
"""Any id that nmlab prints, a trial's folder, a mask file, a checkpoint; or a result."""
GivenLaunch: TypeAlias = str | Path | SweepResult
"""A launch: by its name, its folder, its study (the newest launch), or as a result."""


def target_name(target: Target) -> str:
    """Return the name by which a result is found, or the path that was given."""
    if isinstance(target, SweepResult):
        return target.launch
    if isinstance(target, Configuration):
        return target_name(target.trial)
    if isinstance(target, Trial):
        return target.run_id or target.key
    return str(target)


def launch_text(launch: GivenLaunch) -> str:
    """Return what finds a launch: its folder, where a result has one that is still there, else its name."""
    if not isinstance(launch, SweepResult):
        return str(launch)
    return str(launch.folder) if launch.folder is not None and launch.folder.is_dir() else launch.launch


def launch_texts(given: GivenLaunch | Sequence[GivenLaunch]) -> tuple[str, ...]:
    """Return what finds each of some launches, where one may be given alone."""
    launches = (given,) if isinstance(given, str | Path | SweepResult) else given
    return tuple(text for each in launches for text in _texts(each))


def _texts(launch: GivenLaunch) -> tuple[str, ...]:
    if isinstance(launch, SweepResult) and launch.pooled:
        return tuple(f"{launch.study}@{name}" for name in launch.pooled)
    return (launch_text(launch),)
