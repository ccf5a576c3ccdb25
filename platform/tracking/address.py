"""Where a tracking store is, and whether it can be used, asked before anything depends on it."""

import urllib.request
from http.client import HTTPException
from pathlib import Path

from nmlab.trials.names import unknown_name

_SQLITE = b"SQLite format 3\0"


def absolute_uri(uri: str) -> str:
    """Return a sqlite URI with an absolute path, so that processes in other folders mean the same file."""
    prefix = "sqlite:///"
    return f"{prefix}{Path(uri.removeprefix(prefix)).expanduser().resolve()}" if uri.startswith(prefix) else uri


def check_store(uri: str) -> None:
    """Raise ``ValueError`` when a tracking store cannot be used, before anything depends on it."""
    if uri.startswith("sqlite:///"):
        _check_writable(Path(absolute_uri(uri).removeprefix("sqlite:///")))
    elif not uri.startswith(("http://", "https://", "postgresql", "mysql", "mssql", "databricks")):
        raise ValueError(
            f"tracking store {uri!r}: expected sqlite:///FILE, a database URI or the http address of a server"
        )
    if uri.startswith("http"):
        _check_server(uri)


def experiment_id(study: str, *, uri: str) -> str:
    """Return the MLflow experiment of a study; raises ``ValueError`` when it has none."""
    from mlflow.tracking import MlflowClient

    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise ValueError(f"there is no tracking store at {uri!r} yet; a run or a sweep makes it")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        names = [known.name for known in client.search_experiments() if known.name != "Default"]
        raise ValueError(unknown_name(study, kind="study", known=names))
    return str(experiment.experiment_id)


def _check_writable(path: Path) -> None:
    try:
        with path.open("ab"):
            pass
        with (path.parent / f".{path.name}.probe").open("wb") as probe:
            Path(probe.name).unlink()  # sqlite keeps its journal beside the file
    except OSError as error:
        raise ValueError(f"tracking store {str(path)!r} cannot be written: {error.strerror}") from error
    if path.stat().st_size == 0:
        path.unlink()
        return
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise ValueError(f"tracking store {str(path)!r} is not an sqlite database")


def _check_server(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):
            pass
    except (OSError, HTTPException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"tracking store {uri!r} does not answer: {reason}") from error
