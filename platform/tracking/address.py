"""The address of a tracking store, and whether the store can be used, checked before anything is started."""

from pathlib import Path

from nmlab.reports.read.mlflow_access.addresses import canonical, check_address

_SQLITE = b"SQLite format 3\0"
_FILE = "sqlite:///"


def absolute_uri(uri: str) -> str:
    """Return an address in its canonical form; a file has an absolute path, so that it means the same in any folder."""
    uri = canonical(uri)
    return f"{_FILE}{Path(uri.removeprefix(_FILE)).expanduser().resolve()}" if uri.startswith(_FILE) else uri


def check_store(uri: str, *, study: str | None = None) -> None:
    """Raise ``ValueError`` if a tracking store cannot be used.

    MLflow's own client sends requests to the store. If ``study`` is given, its experiment is created or tagged as a
    launch does it. A database file that does not exist yet is not created.
    """
    uri = absolute_uri(uri)
    check_address(uri)
    if uri.startswith(_FILE):
        path = Path(uri.removeprefix(_FILE))
        _check_writable(path)
        if not path.exists():
            return
    from nmlab.reports.read.mlflow_access.connection import check_writing, connect

    client = connect(uri)
    if study is not None:
        check_writing(client, study, uri=uri)


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
