"""Look at launches, delete what is not needed, send a study to a cluster, browse the runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.api.rendering import html_of, text_of
from nmlab.platform.api.study import Study, as_study

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nmlab.platform.cluster.submit import Job
    from nmlab.platform.launches.snapshot import StoredSnapshot


@dataclass(frozen=True, eq=False, repr=False)
class Status:
    """How a launch stands. As text, and in a notebook, it is what ``nmlab status`` prints.

    Attributes:
        launch: the launch's name.
        phase: ``"starting"``, ``"running"``, ``"stopping"``, ``"finished"``, ``"stopped"``, ``"failed"``, or
            ``"killed"`` if its process is gone and has not said how it ended.
        is_alive: whether its process is at work.
        ended: the trials that have ended.
        planned: the trials in all.
        counts: how many trials are in which status.
    """

    launch: str
    phase: str
    is_alive: bool
    ended: int
    planned: int
    counts: Mapping[str, int]
    _snapshot: "StoredSnapshot" = field(repr=False)

    def record(self) -> dict[str, Any]:
        """Return everything as plain JSON, as ``nmlab status --json`` prints it."""
        return dict(self._snapshot)

    def view(self) -> "RenderableType":
        """Return what rich prints of it."""
        from nmlab.platform.launches.status import render_status

        return render_status(self._snapshot)

    def __str__(self) -> str:
        return text_of([self.view()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_of([self.view()])


@dataclass(frozen=True)
class CleanedLaunch:
    """What can be deleted, or was deleted, of one launch: bytes by kind; or why nothing is."""

    launch: str
    bytes: Mapping[str, int]
    kept_because: str
    best: str
    _record: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Cleaned:
    """What can be deleted of launches, or was deleted if ``deleted`` is true.

    Attributes:
        deleted: whether it was deleted.
        launches: each launch with its bytes by kind, and why it is left alone if it is.
        bytes: of all launches by kind.
    """

    deleted: bool
    launches: tuple[CleanedLaunch, ...]
    bytes: Mapping[str, int]

    def record(self) -> dict[str, Any]:
        """Return everything as plain JSON, as ``nmlab clean --json`` prints it."""
        return {
            "deleted": self.deleted,
            "bytes": dict(self.bytes),
            "launches": [dict(each._record) for each in self.launches],
        }

    def view(self) -> "Iterator[RenderableType]":
        """Yield the table and the lines that show it."""
        from rich.table import Table

        from nmlab.platform.launches.cleaning import KINDS
        from nmlab.platform.planning.admission import size

        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("launch", no_wrap=True)
        for kind in KINDS:
            table.add_column(kind, justify="right", no_wrap=True)
        for each in self.launches:
            table.add_row(each.launch, *(size(each.bytes[kind]) if kind in each.bytes else "-" for kind in KINDS))
        yield table
        for each in self.launches:
            if each.kept_because:
                yield f"{each.launch}: left alone, {each.kept_because}"
            elif each.best:
                yield f"{each.launch}: kept masks and weights of configuration {each.best}"
        total = size(sum(self.bytes.values()))
        yield f"{total} deleted" if self.deleted else f"{total} would be deleted; --yes deletes them"

    def __str__(self) -> str:
        return text_of(self.view())

    def _repr_html_(self) -> str:
        return html_of(self.view())


def status(launch: str | None = None, *, results: str | Path | None = None) -> Status:
    """Show a launch, running or ended: replicas, trials, losses, failures, and how often the model was loaded.

    Args:
        launch: a launch, its folder, or a study (its newest launch); by default the newest of all.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.

    Returns:
        How it stands at this moment.

    Raises:
        ValueError: there is no such launch, or it has not started yet.

    Example:
        >>> import nmlab
        >>> nmlab.status("quickstart").counts  # doctest: +SKIP
    """
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.status import read_status

    snapshot = read_status(launches.find(launch, results=results_folder(results)))
    return Status(
        launch=str(snapshot["launch"]),
        phase=str(snapshot["phase"]),
        is_alive=bool(snapshot["alive"]),
        ended=int(snapshot["ended"]),
        planned=int(snapshot["planned"]),
        counts=dict(snapshot["counts"]),
        _snapshot=snapshot,
    )


def clean(
    launch: str | None = None,
    *,
    checkpoints: bool = False,
    keep_best: bool = False,
    whole: bool = False,
    delete: bool = False,
    results: str | Path | None = None,
) -> Cleaned:
    """List what can be deleted of launches, in bytes; with ``delete``, delete it.

    Without further arguments: checkpoints of trials that have ended, Ray's session folders, and files that were damaged
    or cut off. Every result stays. A launch that a process owns, and results that MLflow lacks, are never deleted.

    Args:
        launch: a launch, its folder, or a study (its newest launch); by default all launches.
        checkpoints: only checkpoints of trials that have ended.
        keep_best: results too, except masks and weights of the best configuration.
        whole: the whole launch with its results; it needs ``launch``.
        delete: delete it; ``--yes`` on the command line.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.

    Returns:
        What can be, or was, deleted of each launch, and why one is left alone.

    Raises:
        ValueError: there is no such launch, or ``whole`` without one.

    Example:
        >>> import nmlab
        >>> nmlab.clean(delete=False).bytes
        {}
    """
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.cleaning import KINDS, CleaningChoice, all_launches, carry_out, survey
    from nmlab.platform.launches.ownership import OwnedError
    from nmlab.platform.tracking.undelivered import undelivered

    if whole and launch is None:
        raise ValueError("--whole deletes a launch with its results; expected its name: nmlab clean LAUNCH --whole")
    choice, folder = CleaningChoice(checkpoints=checkpoints, whole=whole, keep_best=keep_best), results_folder(results)
    found = []
    for each in all_launches(folder) if launch is None else [launches.find(launch, results=folder)]:
        cleaning = survey(each, choice, undelivered=undelivered)
        if delete and not cleaning.kept_because:
            try:
                cleaning = carry_out(each, choice, undelivered=undelivered)
            except OwnedError as error:
                cleaning.paths, cleaning.kept_because = {}, str(error)
        sizes = cleaning.bytes_by_kind
        own = CleanedLaunch(each.name, sizes, cleaning.kept_because, cleaning.best, cleaning.record())
        found.append(own)
    sums = {kind: sum(each.bytes.get(kind, 0) for each in found) for kind in KINDS}
    return Cleaned(delete, tuple(found), {kind: size for kind, size in sums.items() if size})


def submit(
    study: Study | str | Path | Mapping[str, Any] | None = None,
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


def ui(
    study: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    tracking_uri: str | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Serve MLflow's web pages on the tracking store until Ctrl-C. For a remote store only its address is shown.

    Args:
        study: a study whose page is shown.
        host: address to listen on.
        port: port to listen on.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.
        show: is called with the address of the page, before anything is served.

    Raises:
        ValueError: there is no such store or study.
        RuntimeError: the server ended with an error, for example because the port is taken.

    Example:
        >>> import nmlab
        >>> nmlab.ui("quickstart", port=5001)  # doctest: +SKIP
    """
    from nmlab.platform.tracking.pages import page_of, serve_pages

    uri = store_uri(tracking_uri)
    show(page_of(study, uri=uri, host=host, port=port))
    if not uri.startswith("http"):
        serve_pages(uri=uri, host=host, port=port)
