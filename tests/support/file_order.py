"""In which order test files run, and which of them share a process of pytest-xdist.

A file that starts Ray clusters bears the mark ``ray``. Such files run first, one after the other in one process, so
that at most one cluster is up at any time; the other processes take the other files. Of those, files with slow tests
come first, so that no process is left with a long one at the end. Files that bear the mark ``lm_eval`` share a process
too: importing lm-evaluation-harness and listing its tasks takes each process ten seconds.

Marks are looked for in a file's text: the process that hands files out to the others collects no tests.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

RAY = "all files that start Ray"
TOGETHER = {"ray": RAY, "lm_eval": "all files that import lm_eval"}


@cache
def is_marked(path: Path, mark: str) -> bool:
    """Return whether a test file bears a mark anywhere."""
    return f"pytest.mark.{mark}" in path.read_text(encoding="utf-8")


def place_of(path: Path) -> tuple[bool, bool]:
    """Return what files are sorted by; those that are equal in it keep their order."""
    return not is_marked(path, "ray"), not is_marked(path, "slow")


def unit_of(path: Path) -> str:
    """Return the name of what one process gets as a whole: the file, or all files with a mark of ``TOGETHER``."""
    return next((unit for mark, unit in TOGETHER.items() if is_marked(path, mark)), str(path))


class RayInOneProcess(LoadFileScheduling):
    """Gives processes one unit after the other: a file, or all files that bear the same mark of ``TOGETHER``."""

    def __init__(self, config: pytest.Config, log: "Producer") -> None:
        super().__init__(config, log)
        self._root = config.rootpath

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(self._root / super()._split_scope(nodeid))
