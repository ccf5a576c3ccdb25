"""Send a study, or a launch to resume or to extend, to a cluster as a Ray job."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nmlab.platform.api.study import as_study
from nmlab.platform.cluster import submit as jobs
from nmlab.platform.cluster.submit import Job
from nmlab.platform.launches.launch import find
from nmlab.platform.planning.study_plan import check_settings
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.extension import extension_problems
from nmlab.search_spaces.schema.study import Study


def submitted_study(
    study: Study,
    *,
    address: str,
    results: str,
    tracking_uri: str | None,
    max_failures: int | None,
    warm_start: Sequence[str] = (),
) -> Job:
    """Check the settings of a study and send it; raises ``ValueError`` for what is wrong with it or the cluster."""
    check_settings(study)
    return jobs.submit_study(
        study,
        address=address,
        results=results,
        tracking_uri=tracking_uri or f"sqlite:///{results.rstrip('/')}/nmlab.db",
        options=(
            *("--max-failures", str(3 if max_failures is None else max_failures)),
            *(word for launch in warm_start for word in ("--warm-start", known_launch(launch, results))),
        ),
    )


def submitted_resume(launch: str, *, address: str, results: str, tracking_uri: str | None) -> Job:
    """Send a launch to resume; raises ``ValueError`` if the results folder is here and lacks it."""
    return jobs.submit_resume(
        known_launch(launch, results), address=address, results=results, tracking_uri=tracking_uri
    )


def submitted_extension(
    launch: str,
    *,
    study: Study | None,
    overrides: Sequence[str],
    address: str,
    results: str,
    tracking_uri: str | None,
) -> Job:
    """Send a launch to extend; raises ``ValueError`` if the results folder is here, and the change is refused there."""
    name = known_launch(launch, results)
    if Path(results).is_dir():
        before = find(name, results=Path(results)).study()
        after = study or as_study(before, overrides=overrides)
        if problems := list(extension_problems(before, after)):
            raise StudyError(problems, source=after.places)
    return jobs.submit_extension(
        name, address=address, results=results, study=study, overrides=overrides, tracking_uri=tracking_uri
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
