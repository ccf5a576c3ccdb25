"""Send a study to a cluster as a Ray job, together with the nmlab package; the cluster needs only its dependencies."""

import logging
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nmlab
from nmlab.platform.cluster.connection_check import check_listens
from nmlab.platform.failures import reason_line
from nmlab.platform.launches.launch import check_is_local
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.log_levels import at_least
from nmlab.trials.contract.secrets import has_secret, masked

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_EXPECTED = "expected the dashboard of its head node, for example http://10.0.0.1:8265"
_START = ("python", "-m", "nmlab")
_POLL_SECONDS = 2.0
"""Pause between two requests for the output of a job, each of which sends all of it again."""
_JOB_STOP_SECONDS = 30
"""How long ``ray job stop`` waits for a sweep to save its trials before it kills it; Ray's own default is 3 seconds."""


@dataclass(frozen=True)
class Job:
    """A job that a cluster has accepted: its id, the cluster's address, its command, and its study or launch."""

    id: str
    address: str
    command: str
    about: str = ""

    @property
    def logs(self) -> str:
        """The command that shows the job's output."""
        return f"ray job logs {self.id} --address {self.address} --follow"


def submit_study(study: Study, *, address: str, results: str, tracking_uri: str, options: tuple[str, ...] = ()) -> Job:
    """Send the package and the resolved study to the cluster whose dashboard is at ``address``, and start the sweep.

    Raises ``ValueError`` if nothing answers there, or the job is not accepted.
    """
    command = sweep_command(results=results, tracking_uri=tracking_uri, options=options)
    files = {"study.yaml": loader.dump(study)}
    return _submit(command, address=address, files=files, about={"study": study.name})


def submit_resume(launch: str, *, address: str, results: str, tracking_uri: str | None = None) -> Job:
    """Send the package to the cluster whose dashboard is at ``address``, and resume a launch in ``results`` there.

    Raises ``ValueError`` as ``submit_study`` does.
    """
    command = resume_command(launch, results=results, tracking_uri=tracking_uri)
    return _submit(command, address=address, files={}, about={"launch": launch})


def submit_extension(
    launch: str,
    *,
    address: str,
    results: str,
    study: Study | None = None,
    overrides: Sequence[str] = (),
    tracking_uri: str | None = None,
) -> Job:
    """Send the package to the cluster whose dashboard is at ``address``, and extend a launch in ``results`` there.

    Raises ``ValueError`` as ``submit_study`` does.

    Args:
        launch: its name.
        address: of the dashboard.
        results: the folder for launches.
        study: the study as it is to be; None is the one of the launch.
        overrides: settings of it, as ``--set`` takes them.
        tracking_uri: the MLflow store from now on; None is the one it has.
    """
    files = {} if study is None else {"study.yaml": loader.dump(study)}
    changes = (*files, *(word for setting in overrides for word in ("--set", setting)))
    command = extend_command(launch, results=results, tracking_uri=tracking_uri, changes=changes)
    return _submit(command, address=address, files=files, about={"launch": launch})


def _submit(command: str, *, address: str, files: Mapping[str, str], about: dict[str, str]) -> Job:
    """Start a command as a job, with the package and ``files`` in its working folder."""
    with _client(address) as client, package() as folder:
        (folder / "work").mkdir()
        for name, text in files.items():
            (folder / "work" / name).write_text(text, encoding="utf-8")
        environment = {
            "working_dir": str(folder / "work"),
            "py_modules": [str(folder / "nmlab")],
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_JOB_STOP_SECONDS)},
        }
        try:
            number = client.submit_job(entrypoint=command, runtime_env=environment, metadata=about)
        except RuntimeError as error:
            raise ValueError(
                f"the cluster at {address} did not accept the job: {reason_line(error).rstrip('.')}"
            ) from error
    return Job(str(number), address, command, *about.values())


def sweep_command(*, results: str, tracking_uri: str, options: tuple[str, ...] = ()) -> str:
    """Return the command line with which a job starts a sweep on the head node.

    Raises ``ValueError`` for a relative results folder, because a job's own folder is deleted when it ends, and for a
    tracking store with a password, because everybody who sees the cluster's jobs sees the command.
    """
    _check_shared(results)
    _check_public(tracking_uri)
    arguments = ["--address", "auto", "--results", results, "--tracking-uri", tracking_uri, *options]
    return shlex.join([*_START, "sweep", "study.yaml", *arguments])


def resume_command(launch: str, *, results: str, tracking_uri: str | None = None) -> str:
    """Return the command line with which a job resumes a launch; raises ``ValueError`` as ``sweep_command`` does."""
    return _going_on("resume", launch, results=results, tracking_uri=tracking_uri)


def extend_command(launch: str, *, results: str, tracking_uri: str | None = None, changes: Sequence[str] = ()) -> str:
    """Return the command line with which a job extends a launch; raises ``ValueError`` as ``sweep_command`` does."""
    return _going_on("extend", launch, *changes, results=results, tracking_uri=tracking_uri)


def _going_on(verb: str, *words: str, results: str, tracking_uri: str | None) -> str:
    _check_shared(results)
    if tracking_uri is not None:
        _check_public(tracking_uri)
    store = () if tracking_uri is None else ("--tracking-uri", tracking_uri)
    return shlex.join([*_START, verb, *words, "--address", "auto", "--results", results, *store])


def _check_public(tracking_uri: str) -> None:
    if has_secret(tracking_uri):
        raise ValueError(
            f"tracking store {masked(tracking_uri)!r}: everybody who sees the cluster's jobs sees their commands; "
            "leave the password out and set MLFLOW_TRACKING_URI where the cluster's processes start"
        )


def _check_shared(results: str) -> None:
    check_is_local(results)
    if not Path(results).is_absolute():
        raise ValueError(f"results folder {results!r}: expected an absolute path to a folder that all nodes share")


def follow(job: Job, *, show: Callable[[str], None]) -> bool:
    """Wait for a job and pass its output to ``show``; return whether it succeeded. An interrupt leaves it running."""
    printed = 0
    with _client(job.address) as client:
        while True:
            status = client.get_job_status(job.id)
            logs = client.get_job_logs(job.id)
            if len(logs) > printed:
                show(logs[printed:])
                printed = len(logs)
            if status.is_terminal():
                return str(status.value) == "SUCCEEDED"
            time.sleep(_POLL_SECONDS)


@contextmanager
def package() -> Iterator[Path]:
    """Yield a folder that holds the installed package as ``nmlab/``, with a checkout's links replaced by folders."""
    with TemporaryDirectory(prefix="nmlab-") as name:
        folder = Path(name)
        source = Path(nmlab.__path__[0])
        shutil.copytree(source, folder / "nmlab", ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


@contextmanager
def _client(address: str) -> "Iterator[JobSubmissionClient]":
    client = _connected(address)
    with at_least(logging.WARNING, "ray"):  # it reports each upload
        yield client


def _connected(address: str) -> "JobSubmissionClient":
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"address {address!r}: {_EXPECTED}")
    check_listens(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), address, expected=_EXPECTED)
    try:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(address)
    except ImportError as error:
        raise ValueError("nmlab submit needs Ray's job client; pip install 'nmlab[cluster]'") from error
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(
            f"the server at {address} accepts no Ray jobs: {reason_line(error).rstrip('.')}; {_EXPECTED}"
        ) from error
