"""``nmlab submit``: hand a study to a cluster and go home."""

import sys
from typing import Annotated

import typer

from nmlab.platform.cli.options import Json, Preset, Set, console, print_json, usable_uri

Dashboard = Annotated[str, typer.Option("--address", help="Dashboard of the cluster, such as http://10.0.0.1:8265.")]
Results = Annotated[str, typer.Option("--results", help="Absolute folder for launches, which all nodes share.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store as the cluster sees it; in --results without. User and password do not travel: set them "
        "in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster.",
        callback=usable_uri,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show what the job prints until it ends.")]
MaxFailures = Annotated[int, typer.Option("--max-failures", min=0, help="How often a replica or trial may be lost.")]


def submit(
    study: Annotated[str, typer.Argument(help="Name of a study (see `nmlab studies`) or a YAML file.")],
    address: Dashboard,
    results: Results,
    preset: Preset = None,
    overrides: Set = None,
    tracking_uri: TrackingUri = None,
    max_failures: MaxFailures = 3,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Run a study on a cluster as a Ray job; nmlab itself is sent along, what it needs must be installed there.

    Example: nmlab submit quickstart --address http://10.0.0.1:8265 --results /shared/nmlab
    """
    from nmlab.platform.resolve import check_settings
    from nmlab.platform.submit import follow, submit_study
    from nmlab.search_spaces import loader

    resolved = loader.load(study, preset=preset, overrides=overrides or [])
    check_settings(resolved)
    job = submit_study(
        resolved,
        address=address,
        results=results,
        tracking_uri=tracking_uri or f"sqlite:///{results.rstrip('/')}/nmlab.db",
        options=("--max-failures", str(max_failures)),
    )
    if as_json:
        print_json({"job": job.id, "address": job.address, "command": job.command, "logs": job.logs})
    else:
        out = console()
        out.print(f"job {job.id}: {resolved.name} on {address}", markup=False)
        out.print(f"look at it with: {job.logs}\n            and: nmlab status --results {results}", markup=False)
    if wait and not follow(job, tell=lambda text: print(text, end="", file=sys.stderr, flush=True)):
        raise typer.Exit(1)
