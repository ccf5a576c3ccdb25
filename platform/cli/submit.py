"""``nmlab submit``: run a study on a cluster as a Ray job."""

import sys
from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_launch, complete_study
from nmlab.platform.cli.options import Json, Preset, Set, WarmStart, console, print_json, usable_uri

Dashboard = Annotated[str, typer.Option("--address", help="Dashboard of the cluster, such as http://10.0.0.1:8265.")]
Results = Annotated[
    str, typer.Option("--results", help="Absolute path of the folder for launches, which all nodes share.")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store as the cluster reaches it. Default: in --results. User and password are not sent: set them "
        "in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster.",
        callback=usable_uri,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Print the job's output until it ends.")]
MaxFailures = Annotated[
    int | None,
    typer.Option("--max-failures", min=0, help="Losses that a replica, or a trial, survives. Default: 3."),
]
Study = Annotated[
    str | None,
    typer.Argument(
        help="Name of a study (see `nmlab studies`) or a YAML file.",
        show_default=False,
        autocompletion=complete_study,
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="LAUNCH",
        help="Continue a launch in --results, in place of a STUDY.",
        autocompletion=complete_launch,
    ),
]

Extend = Annotated[
    str | None,
    typer.Option(
        "--extend",
        metavar="LAUNCH",
        help="Extend a launch in --results: by --set, or to the STUDY as it is to be.",
        autocompletion=complete_launch,
    ),
]


def submit(
    address: Dashboard,
    *,
    results: Results,
    study: Study = None,
    resume: Resume = None,
    extend: Extend = None,
    preset: Preset = None,
    overrides: Set = None,
    tracking_uri: TrackingUri = None,
    max_failures: MaxFailures = None,
    warm_start: WarmStart = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Run a study on a cluster as a Ray job. nmlab itself is sent; its dependencies must be installed there.

    Example: nmlab submit quickstart --address http://10.0.0.1:8265 --results /shared/nmlab
    """
    from nmlab.platform.api import jobs, submitting

    job = submitting.submit(
        study,
        address=address,
        results=results,
        resume=resume,
        extend=extend,
        preset=preset,
        overrides=overrides or (),
        tracking_uri=tracking_uri,
        max_failures=max_failures,
        warm_start=warm_start or (),
    )
    if as_json:
        print_json({"job": job.id, "address": job.address, "command": job.command, "logs": job.logs})
    else:
        out = console()
        out.print(f"job {job.id}: {job.about} on {address}", markup=False)
        out.print(f"follow it with: {job.logs}\n           and: nmlab status --results {results}", markup=False)
    if wait and not jobs.wait_for(job, show=lambda text: print(text, end="", file=sys.stderr, flush=True)):
        raise typer.Exit(1)
