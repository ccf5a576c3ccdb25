"""A plan as text: what a study would run, and its memory, time and disk."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from nmlab.platform.planning.admission import size

if TYPE_CHECKING:
    from nmlab.platform.planning.plan_record import MemoryRecord, PlanRecord

SHOWN = 10
"""How many trials are listed where not all of them are."""
_APART = (
    "text notes",
    "could not tell",
    "seconds",
    "seconds are",
    "clean frees",
    "trial list",
    "settled trials",
    "open configurations",
    "confirmation trials",
    "warm start",
)


def plan_view(record: "PlanRecord") -> Iterator[RenderableType]:
    """Yield the lines and tables that show the record of a plan, in order."""
    yield from _facts(record)
    yield ""
    yield _trials(record)
    if more := record["settled trials"] - len(record["trial list"]):
        yield f"and {more} more; --all lists them"
    if record["open configurations"]:
        yield f"and {record['open configurations']} configurations that depend on the results of these"
    yield ""
    yield from _memory(record)
    yield f"time             {_duration(record['seconds'])}, {record['seconds are']}{_how(record)}"
    kinds = ", ".join(f"{name} {size(count)}" for name, count in record["disk"].items() if count)
    yield f"disk             {size(sum(record['disk'].values()))}: {kinds}"
    if freed := record["clean frees"]:
        yield f"                 {size(freed)} of it are free again after `nmlab clean`, which keeps every result"


def _facts(record: "PlanRecord") -> Iterator[RenderableType]:
    for name, value in record.items():
        if isinstance(value, str | int | list) and name not in _APART:
            text = size(float(str(value))) if name == "bytes a replica" else str(value)
            yield f"{name:16} {text}"
    for line in record.get("warm start", ()):
        yield f"{'warm start':16} {line}"
    for note in record["text notes"]:
        yield f"{'note':16} {note}"


def _memory(record: "PlanRecord") -> Iterator[RenderableType]:
    memory = record["memory"]
    yield _bytes(memory)
    for row in memory["methods"]:
        if len(row["state"]) > 1 or not row["known"]:
            parts = ", ".join(f"{name} {size(count)}" for name, count in row["state"].items() if count)
            known = f"state of {row['method']} {row['pattern']}: {parts}"
            yield known if row["known"] else f"{row['method']} does not declare its memory; use --probe"
    for line in record["could not tell"]:
        yield f"\nunknown          {line}"
    device = "a GPU" if memory["device"] == "cuda" else "this machine"
    reason = str(record["proposal"]["reason"])
    yield f"\nmemory           {size(memory['needed'])} of {size(memory['free'])} free on {device}: weights once"
    yield f"                 ({size(memory['weights'])}), {size(memory['slot'])} for a slot; {reason}"
    bound = f"dropped beyond {size(memory['shared budget'])} unless a running trial uses it"
    yield f"shared           {size(memory['shared'])} that a replica keeps for all trials; {bound}"


def _how(record: "PlanRecord") -> str:
    if record["seconds are"] == "measured":
        return " by a few real steps here"
    return " from the speed of a matrix product here; --probe measures"


def _trials(record: "PlanRecord") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("trial", "method", "pattern", "seed", "settings"):
        table.add_column(column, justify="right" if column in ("trial", "seed") else "left", overflow="fold")
    for number, trial in enumerate(record["trial list"], start=1):
        settings = " ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in trial["settings"].items()
        )
        table.add_row(str(number), trial["method"], trial["pattern"], str(trial["seed"]), settings)
    return table


def _bytes(memory: "MemoryRecord") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("a slot of", "pattern", "state", "masked weights", "activations", "peak", "a step"):
        table.add_column(column, justify="left" if column in ("a slot of", "pattern") else "right", no_wrap=True)
    for row in memory["methods"]:
        step = _duration(row["step_seconds"]) if row["step_seconds"] else "-"
        table.add_row(
            row["method"],
            row["pattern"],
            size(row["state_bytes"]),
            size(row["masked_weights"]),
            size(row["activations"]),
            size(row["slot"]),
            step,
        )
    return table


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
