"""Send a study, or a launch to resume, to a cluster as a Ray job."""

from collections.abc import Callable
from pathlib import Path

from nmlab.platform.cluster import submit as jobs
from nmlab.platform.cluster.submit import Job
from nmlab.platform.launches.launch import find
from nmlab.platform.planning.study_plan import check_settings
from nmlab.search_spaces.schema.study import Study


def submitted_study(
    study: Study, *, address: str, results: str, tracking_uri: str | None, max_failures: int | None
) -> Job:
    """Check the settings of a study and send it; raises ``ValueError`` for what is wrong with it or the cluster."""
    check_settings(study)
    return jobs.submit_study(
        study,
        address=address,
        results=results,
        tracking_uri=tracking_uri or f"sqlite:///{results.rstrip('/')}/nmlab.db",
        options=("--max-failures", str(3 if max_failures is None else max_failures)),
    )


def submitted_resume(launch: str, *, address: str, results: str, tracking_uri: str | None) -> Job:
    """Send a launch to resume; raises ``ValueError`` if the results folder is here and lacks it."""
    return jobs.submit_resume(
        known_launch(launch, results), address=address, results=results, tracking_uri=tracking_uri
    )


def known_launch(name: str, results: str) -> str:
    """Return the name of the launch that the job resumes; raises ``ValueError`` if the results folder here lacks it.

    A study's name means its newest launch at this moment, so that the job resumes the launch that the user means.
    """
    if not Path(results).is_dir():  # the cluster's folder need not be mounted here
        return name
    return find(name, results=Path(results)).name


def wait_for(job: Job, *, show: Callable[[str], None]) -> bool:
    """Wait for a job and pass its output to ``show``; return whether it succeeded. An interrupt leaves it running."""
    return jobs.follow(job, show=show)
