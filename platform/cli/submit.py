"""``nmlab submit``: run a study on a cluster as a Ray job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmlab.platform.cli.options import Json, Preset, Set, console, print_json, usable_uri

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
    str | None, typer.Argument(help="Name of a study (see `nmlab studies`) or a YAML file.", show_default=False)
]
Resume = Annotated[
    str | None,
    typer.Option("--resume", metavar="LAUNCH", help="Continue a launch in --results, in place of a STUDY."),
]

if TYPE_CHECKING:
    from nmlab.platform.cluster.submit import Job


def submit(
    address: Dashboard,
    results: Results,
    study: Study = None,
    resume: Resume = None,
    preset: Preset = None,
    overrides: Set = None,
    tracking_uri: TrackingUri = None,
    max_failures: MaxFailures = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Run a study on a cluster as a Ray job. nmlab itself is sent; its dependencies must be installed there.

    Example: nmlab submit quickstart --address http://10.0.0.1:8265 --results /shared/nmlab
    """
    from nmlab.platform.cluster.submit import follow, submit_resume

    if (study is None) == (resume is None):
        given = "both" if study is not None else "neither"
        raise ValueError(f"nmlab submit: expected STUDY or --resume LAUNCH, {given} given")
    if resume is not None:
        if preset is not None or overrides or max_failures is not None:
            raise ValueError(
                f"--resume {resume}: continues the launch's own study; expected no --preset, --set or --max-failures"
            )
        name = _known_launch(resume, results)
        job = submit_resume(name, address=address, results=results, tracking_uri=tracking_uri)
    else:
        assert study is not None
        name, job = _submit_study(
            study,
            preset,
            overrides,
            address=address,
            results=results,
            tracking_uri=tracking_uri,
            max_failures=3 if max_failures is None else max_failures,
        )
    if as_json:
        print_json({"job": job.id, "address": job.address, "command": job.command, "logs": job.logs})
    else:
        out = console()
        out.print(f"job {job.id}: {name} on {address}", markup=False)
        out.print(f"follow it with: {job.logs}\n           and: nmlab status --results {results}", markup=False)
    if wait and not follow(job, show=lambda text: print(text, end="", file=sys.stderr, flush=True)):
        raise typer.Exit(1)


def _submit_study(
    study: str,
    preset: str | None,
    overrides: list[str] | None,
    *,
    address: str,
    results: str,
    tracking_uri: str | None,
    max_failures: int,
) -> tuple[str, "Job"]:
    """Send a study; return its name and the job."""
    from nmlab.platform.cluster.submit import submit_study
    from nmlab.platform.planning.study_plan import check_settings
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
    return resolved.name, job


def _known_launch(name: str, results: str) -> str:
    """Return the name of the launch that the job resumes; raises ``ValueError`` if the results folder here lacks it.

    A study's name means its newest launch at this moment, so that the job resumes the launch that the user means.
    """
    from nmlab.platform.launches.launch import find

    if not Path(results).is_dir():  # the cluster's folder need not be mounted here
        return name
    return find(name, results=Path(results)).name
