"""``nmlab plan``: show what a study would run, and its memory, time and disk, before anything is started."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmlab.platform.cli.options import Json, Preset, Set, console, print_json

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 10
All = Annotated[bool, typer.Option("--all", help="List every trial.")]
Probe = Annotated[bool, typer.Option("--probe", help="Load the model and time three real steps of every method.")]


def plan(
    study: Annotated[str, typer.Argument(help="Name of a study (see `nmlab studies`) or a YAML file.")],
    preset: Preset = None,
    overrides: Set = None,
    every: All = False,
    probe: Probe = False,
    as_json: Json = False,
) -> None:
    """Check a study against its model, text and machine; show its trials, and its memory, time and disk.

    Example: nmlab plan quickstart --set search.samples=20 --probe
    """
    from nmlab.platform.planning.study_plan import plan_study
    from nmlab.search_spaces import loader

    resolved = plan_study(loader.load(study, preset=preset, overrides=overrides or []))

    from nmlab.platform.planning.estimate import Estimate, probe_methods  # loads torch; the study is checked before

    estimate = Estimate.here(resolved)
    estimate.check()
    if probe:
        estimate = Estimate.here(resolved, probes=probe_methods(resolved))
        estimate.check()
    record = estimate.record(trials=None if every or as_json else _SHOWN)
    if as_json:
        print_json(record)
    else:
        _show(record)


def _show(record: dict[str, Any]) -> None:
    from nmlab.platform.planning.admission import size

    out, memory = console(), record["memory"]
    for name, value in record.items():
        if isinstance(value, str | int | list) and name not in _APART:
            text = size(float(str(value))) if name == "bytes a replica" else str(value)
            out.print(f"{name:16} {text}", markup=False)
    for note in record["text notes"]:
        out.print(f"{'note':16} {note}", markup=False)
    out.print()
    out.print(_trials(record))
    more = record["settled trials"] - len(record["trial list"])
    if more:
        out.print(f"and {more} more; --all lists them")
    if record["open configurations"]:
        out.print(f"and {record['open configurations']} configurations that depend on the results of these")
    out.print()
    out.print(_bytes(memory))
    for row in memory["methods"]:
        if len(row["state"]) > 1 or not row["known"]:
            parts = ", ".join(f"{name} {size(count)}" for name, count in row["state"].items() if count)
            known = f"state of {row['method']} {row['pattern']}: {parts}"
            out.print(known if row["known"] else f"{row['method']} does not declare its memory; use --probe")
    for line in record["could not tell"]:
        out.print(f"\nunknown          {line}", markup=False)
    device = "a GPU" if memory["device"] == "cuda" else "this machine"
    out.print(f"\nmemory           {size(memory['needed'])} of {size(memory['free'])} free on {device}: weights once")
    out.print(f"                 ({size(memory['weights'])}), {size(memory['slot'])} for a slot; {_proposed(record)}")
    bound = f"dropped beyond {size(memory['shared budget'])} unless a running trial uses it"
    out.print(f"shared           {size(memory['shared'])} that a replica keeps for all trials; {bound}")
    out.print(f"time             {_duration(record['seconds'])}, {record['seconds are']}{_how(record)}")
    kinds = ", ".join(f"{name} {size(count)}" for name, count in record["disk"].items() if count)
    out.print(f"disk             {size(sum(record['disk'].values()))}: {kinds}")
    if freed := record["clean frees"]:
        out.print(f"                 {size(freed)} of it are free again after `nmlab clean`, which keeps every result")


_APART = (
    "text notes",
    "could not tell",
    "seconds",
    "seconds are",
    "clean frees",
    "trial list",
    "settled trials",
    "open configurations",
)


def _proposed(record: dict[str, Any]) -> str:
    return str(record["proposal"]["reason"])


def _how(record: dict[str, Any]) -> str:
    if record["seconds are"] == "measured":
        return " by a few real steps here"
    return " from the speed of a matrix product here; --probe measures"


def _trials(record: dict[str, Any]) -> "Table":
    from rich.table import Table

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


def _bytes(memory: dict[str, Any]) -> "Table":
    from rich.table import Table

    from nmlab.platform.planning.admission import size

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("a slot of", "pattern", "state", "masked weights", "activations", "peak", "a step"):
        table.add_column(column, justify="left" if column in ("a slot of", "pattern") else "right", no_wrap=True)
    for row in memory["methods"]:
        step = f"{row['step_seconds'] * 1000:.3g} ms" if row["step_seconds"] else "-"
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
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
