"""Send a study, or a launch to resume or to extend, to a cluster as a Ray job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.study import Study, as_study

if TYPE_CHECKING:
    from nmlab.platform.cluster.submit import Job


def submit(
    study: Study | str | Path | Mapping[str, object] | None = None,
    *,
    address: str,
    results: str | Path,
    resume: str | None = None,
    extend: str | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    tracking_uri: str | None = None,
    max_failures: int | None = None,
    warm_start: Sequence[str] = (),
) -> "Job":
    """Run a study on a cluster as a Ray job. nmlab itself is sent; its dependencies must be installed there.

    Args:
        study: a study, or what `load_study` takes.
        address: dashboard of the cluster, such as ``http://10.0.0.1:8265``.
        results: absolute path of the folder for launches, which all nodes share.
        resume: continue this launch in ``results``, in place of a study.
        extend: extend this launch in ``results``, to the study where one is given, else by ``overrides``.
        preset: the size of the study, where it is given by its name.
        overrides: settings as ``--set`` takes them, such as ``"search.samples=4"``.
        tracking_uri: MLflow store as the cluster reaches it; by default in ``results``. User and password are not sent:
            set them in ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD`` on the cluster.
        max_failures: losses that a replica, or a trial, survives; by default 3.
        warm_start: launches in ``results`` that the search of a study starts from, as `sweep` takes them.

    Returns:
        The job: its ``id``, ``address``, ``command``, and in ``logs`` the command that shows its output.

    Raises:
        ValueError: both or neither of study and resume, a study that cannot be used, a change that a launch does not
            take, or a cluster that does not answer or accept the job.

    Example:
        >>> import nmlab
        >>> nmlab.submit("quickstart", address="http://10.0.0.1:8265", results="/shared/nmlab")  # doctest: +SKIP
    """
    from nmlab.platform.api.jobs import submitted_extension, submitted_resume, submitted_study

    if warm_start and (resume is not None or extend is not None):
        raise ValueError("--warm-start: only a new launch starts from others; expected STUDY alone")
    if extend is not None:
        _check_extension(
            extend, resume=resume, study=study, overrides=overrides, preset=preset, max_failures=max_failures
        )
        whole = None if study is None else as_study(study, preset=preset, overrides=overrides)
        return submitted_extension(
            extend,
            study=whole,
            overrides=overrides if whole is None else (),
            address=address,
            results=str(results),
            tracking_uri=tracking_uri,
        )
    if (study is None) == (resume is None):
        given = "both" if study is not None else "neither"
        raise ValueError(f"nmlab submit: expected STUDY or --resume LAUNCH, {given} given")
    place = str(results)
    if study is not None:
        loaded = as_study(study, preset=preset, overrides=overrides)
        return submitted_study(
            loaded,
            address=address,
            results=place,
            tracking_uri=tracking_uri,
            max_failures=max_failures,
            warm_start=warm_start,
        )
    assert resume is not None
    if preset is not None or overrides or max_failures is not None:
        raise ValueError(
            f"--resume {resume}: continues the launch's own study; expected no --preset, --set or --max-failures"
        )
    return submitted_resume(resume, address=address, results=place, tracking_uri=tracking_uri)


def _check_extension(
    launch: str,
    *,
    resume: str | None,
    study: object,
    overrides: Sequence[str],
    preset: str | None,
    max_failures: int | None,
) -> None:
    """Raise ``ValueError`` for what does not go with the extension of a launch."""
    if resume is not None:
        raise ValueError(f"nmlab submit: expected --resume LAUNCH or --extend LAUNCH, both given ({resume}, {launch})")
    if study is None and not overrides:
        raise ValueError(f"--extend {launch}: expected --set, or the STUDY as it is to be")
    if max_failures is not None or (preset is not None and study is None):
        raise ValueError(
            f"--extend {launch}: the launch keeps its --max-failures, and --preset belongs to a STUDY; expected neither"
        )
