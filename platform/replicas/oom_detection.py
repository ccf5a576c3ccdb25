"""Was the process that worked on a trial before this one killed for want of memory?

Nothing in a process hears of such an end. What can be asked is Ray, whose memory monitor says of each worker that it
killed why, and the kernel of the same machine, which counts those it killed. So a process leaves its name in the
trial's folder while it is at work there, and the next one that finds it asks.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from nmlab.trials.files.disk import is_disk_full

_MARK = "at_work.json"
_COUNTS = Path("/proc/vmstat")


@contextmanager
def at_work(folder: Path) -> Iterator[str]:
    """Leave this process's name in a trial's folder for as long as the block lasts; give why its predecessor ended.

    That is "" unless the one before was killed for memory.
    """
    why = reason(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / _MARK
    try:
        mark.write_text(json.dumps(_name()), encoding="utf-8")
    except OSError as error:
        if not is_disk_full(error):  # else the process does without a mark
            raise
    yield why
    mark.unlink(missing_ok=True)  # not where an error or a kill ends the block: then the mark is what tells of it


def reason(folder: Path) -> str:
    """Return why the process whose name lies in ``folder`` was killed, as far as memory was why; else ""."""
    try:
        before = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return ""
    if killed_by_ray(_death_of(before["actor"])):
        return "its worker was killed by Ray's memory monitor"
    here = _name()
    if before["node"] == here["node"] and here["oom_kills"] > before["oom_kills"]:
        return "its worker was killed while the kernel was out of memory"
    return ""


def killed_by_ray(death: Any) -> bool:
    """Say whether a ``DeathCause`` of Ray's actor table is that of its memory monitor."""
    return death is not None and death.WhichOneof("context") == "oom_context"


def _name() -> dict[str, Any]:
    context = ray.get_runtime_context()
    return {"actor": context.get_actor_id(), "node": context.get_node_id(), "oom_kills": oom_kills()}


def _death_of(actor: str) -> Any:
    return ray._private.state.actors(actor).get("DeathCause")


def oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started; 0 where it does not count them."""
    try:
        lines = _COUNTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
