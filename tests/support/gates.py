"""How far the trials of the method of ``tests/paced`` may go, as a test decides while they run."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmlab.platform.testing.real_launches.launched import GRID

VARIABLE = "NMLAB_PACED_GATE"
STEPS = 300
PACED: dict[str, Any] = {**GRID, "method": "paced", "fixed": {"steps": STEPS, "initial_mask": "wanda"}}
"""The study of undisturbed sweeps with this method and more steps, which take no time."""


@dataclass
class Gate:
    """The file at which steps look, and the environment of the processes in which they do.

    Attributes:
        file: its path; trials wait for nothing while there is no such file.
        packages: the folder in which the method is installed.
    """

    file: Path
    packages: Path
    _limits: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the processes of a sweep, or of a cluster's nodes."""
        path = os.pathsep.join([str(self.packages), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {VARIABLE: str(self.file), "PYTHONPATH": path}

    def let(self, limits: Mapping[int, int]) -> None:
        """Let the trials of each of these seeds take so many steps, and then wait; other limits stay."""
        self._limits |= {str(seed): steps for seed, steps in limits.items()}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self._limits), encoding="utf-8")
        new.replace(self.file)

    def open(self) -> None:
        """Let all trials go to their ends."""
        self._limits.clear()
        self.file.unlink(missing_ok=True)
