"""``nmlab plan``: show what a study would run, and its memory, time and disk, before anything is started."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.options import (
    DEFAULT_URI,
    Json,
    Preset,
    Results,
    Set,
    StudyName,
    TrackingUri,
    WarmStart,
    console,
    print_json,
)

All = Annotated[bool, typer.Option("--all", help="List every trial.")]
Probe = Annotated[bool, typer.Option("--probe", help="Load the model and time three real steps of every method.")]


def plan(
    study: StudyName,
    *,
    preset: Preset = None,
    overrides: Set = None,
    every: All = False,
    probe: Probe = False,
    warm_start: WarmStart = None,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Check a study against its model, text and machine; show its trials, and its memory, time and disk.

    Example: nmlab plan quickstart --set search.samples=20 --probe
    """
    from nmlab.platform.api import plans

    found = plans.plan(
        study,
        preset=preset,
        overrides=overrides or (),
        probe=probe,
        warm_start=warm_start or (),
        results=results,
        tracking_uri=tracking_uri,
    )
    if as_json:
        print_json(found.record())
        return
    out = console()
    for part in found.view(every=every):
        out.print(part, markup=False)
