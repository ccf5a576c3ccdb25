"""``nmlab doctor``: check whether this machine is ready."""

from pathlib import Path

import typer
from rich.text import Text

from nmlab.platform.cli.options import DEFAULT_URI, Json, Results, TrackingUri, console, print_json

_MARKS = {
    "ok": ("ok     ", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("failed ", "red"),
}


def doctor(results: Results = Path("results"), tracking_uri: TrackingUri = DEFAULT_URI, as_json: Json = False) -> None:
    """Check Python, packages, the build of torch, devices, disk and the tracking store.

    Exit code 1 if one of them will not work.

    Example: nmlab doctor
    """
    from nmlab.platform.api import checkup

    found = checkup.doctor(results=results, tracking_uri=tracking_uri)
    if as_json:
        print_json([check.record() for check in found])
    else:
        for check in found:
            console().print(Text.assemble(_MARKS[check.verdict], f" {check.name:15} {check.detail}"))
    if any(check.verdict == "failed" for check in found):
        raise typer.Exit(1)
