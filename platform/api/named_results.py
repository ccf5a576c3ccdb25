"""Results and models that a function is given: by name, file or value."""

from pathlib import Path
from typing import TypeAlias

from nmlab.platform.api.results import Configuration, Trial
from nmlab.platform.api.sweep_result import SweepResult

Target: TypeAlias = str | Path | Trial | Configuration | SweepResult
"""Any id that nmlab prints, a trial's folder, a mask file, a checkpoint; or a result."""


def target_name(target: Target) -> str:
    """Return the name by which a result is found, or the path that was given."""
    if isinstance(target, SweepResult):
        return target.launch
    if isinstance(target, Configuration):
        return target_name(target.trial)
    if isinstance(target, Trial):
        return target.run_id or target.key
    return str(target)
