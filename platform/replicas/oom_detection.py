"""Finds out whether the process that last worked on a trial was killed because memory ran out.

A process gets no notice of such an end. Afterwards, Ray's memory monitor says why it killed a worker, and the kernel of
the same machine counts the processes it killed. So a process writes its name into the trial's folder while it works
there, and the next process that finds the name asks Ray and the kernel.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import ray

from nmlab.platform.compat.ray_core import death_of, killed_by_ray
from nmlab.trials.files.disk import is_disk_full

_MARK = "at_work.json"
_COUNTS = Path("/proc/vmstat")


class _Process(TypedDict):
    """The process that works on a trial, and how many processes the kernel of its node had killed by then."""

    actor: str
    node: str
    oom_kills: int


@contextmanager
def marked_as_worked_on(folder: Path) -> Iterator[str]:
    """Mark a trial's folder with this process's name while the block lasts; yield why the last process ended.

    That is "" unless it was killed because memory ran out. The mark stays if an error ends the block.
    """
    why = why_killed(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / _MARK
    try:
        mark.write_text(json.dumps(_name()), encoding="utf-8")
    except OSError as error:
        if not is_disk_full(error):  # on a full disk the process works without a mark
            raise
    yield why
    mark.unlink(missing_ok=True)  # not if an error or a kill ends the block: the mark then shows it


def why_killed(folder: Path) -> str:
    """Return why the process whose name is in ``folder`` was killed, if for lack of memory; else ""."""
    before = _marked(folder / _MARK)
    if before is None:
        return ""
    if killed_by_ray(death_of(before["actor"])):
        return "its worker was killed by Ray's memory monitor"
    here = _name()
    if before["node"] == here["node"] and here["oom_kills"] > before["oom_kills"]:
        return "its worker was killed while the kernel was out of memory"
    return ""


def _marked(mark: Path) -> _Process | None:
    """Return the process whose name a mark holds; None if there is no mark, or only a part of one."""
    try:
        found = json.loads(mark.read_bytes())
    except (FileNotFoundError, ValueError):  # of bytes that are no text, or no JSON
        return None
    if not isinstance(found, dict):
        return None
    actor, node, oom_kills = found.get("actor"), found.get("node"), found.get("oom_kills")
    if not (isinstance(actor, str) and isinstance(node, str) and isinstance(oom_kills, int)):
        return None
    return {"actor": actor, "node": node, "oom_kills": oom_kills}


def _name() -> _Process:
    context = ray.get_runtime_context()
    return {"actor": context.get_actor_id(), "node": context.get_node_id(), "oom_kills": oom_kills()}


def oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started; 0 where it does not count them."""
    try:
        lines = _COUNTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
