"""What a notification says of a launch: one JSON object, the same for every receiver; docs/guide.md has its fields."""

import math
import time
import uuid
from collections.abc import Mapping

from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.standings import OnFreshSeeds, Standing, read_standing
from nmlab.platform.launches.view.best_section import best_text
from nmlab.platform.launches.view.groups import failures
from nmlab.platform.launches.view.texts import clock
from nmlab.trials.contract.escaping import one_line
from nmlab.trials.contract.secrets import masked
from nmlab.trials.contract.values import JsonObject

FORMAT = 1
ENDED, FAILED, DISK_FULL = "ended", "failed", "disk full"
"""The events: a launch ended by itself or was stopped, an error ended it, or it waits for room on a disk."""


def notification(event: str, snapshot: Snapshot, *, reason: str = "") -> JsonObject:
    """Return the message on an event of a launch, with why it came to that where there is a reason."""
    why = one_line(masked(reason))
    return {
        "format": FORMAT,
        "id": uuid.uuid4().hex,
        "event": event,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "study": snapshot["study"],
        "launch": snapshot["launch"],
        "status": str(snapshot["phase"]),
        "reason": why,
        "seconds": snapshot["elapsed_seconds"],
        "trials": {"planned": snapshot["planned"], "ended": snapshot["ended"], "by_status": dict(snapshot["counts"])},
        "failed": _failed(snapshot),
        "metric": snapshot["metric"],
        "mode": snapshot["mode"],
        "best": [_best(read_standing(record)) for record in snapshot.get("best", ())],
        "text": _text(event, snapshot, why),
    }


def _failed(snapshot: Snapshot) -> Mapping[str, int]:
    """Return how many trials did not finish, by how they ended; those that the search stopped are not among them."""
    counts: dict[str, int] = {}
    for failure in failures(snapshot):
        counts[failure.status] = counts.get(failure.status, 0) + failure.count
    return counts


def _best(standing: Standing) -> JsonObject:
    return {
        "pattern": standing.pattern,
        "configuration": standing.label or None,
        "mean": _finite(standing.mean),
        "seeds": standing.seeds,
        "baseline": standing.baseline or None,
        "baseline_mean": _finite(standing.baseline_mean),
        "fresh_mean": _fresh_mean(standing.fresh),
        "baseline_fresh_mean": _fresh_mean(standing.baseline_fresh),
    }


def _fresh_mean(fresh: OnFreshSeeds | None) -> float | None:
    """Return the mean on fresh seeds, once all of them have ended."""
    return None if fresh is None or fresh.ended < fresh.planned else _finite(fresh.mean)


def _finite(value: float | None) -> float | None:
    """Return a number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None


def _text(event: str, snapshot: Snapshot, why: str) -> str:
    """Return the message as a sentence, for services that show one."""
    what = {ENDED: str(snapshot["phase"]), FAILED: "failed", DISK_FULL: "waits for room on a disk"}[event]
    failed = ", ".join(f"{count} {status}" for status, count in _failed(snapshot).items())
    trials = f"{snapshot['ended']} of {snapshot['planned']} trials in {clock(snapshot['elapsed_seconds'])}"
    parts = (f"{snapshot['launch']} {what}: {trials}", failed, best_text(snapshot), why)
    return "; ".join(part for part in parts if part)
