"""Addresses of tracking stores: their canonical form, and the accepted kinds of store."""

from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from nmlab.reports.read.errors import ReportError

DATABASES = ("postgresql", "mysql", "mssql")
EXPECTED = "expected sqlite:///FILE, a database URI or the http address of a server"
_SERVERS = ("http", "https")
_PLUGINS = {"azureml": "azureml-mlflow"}
"""Packages that add a scheme to MLflow."""


def canonical(uri: str) -> str:
    """Return an address with its scheme in lower case, and for a server without trailing slashes."""
    uri = uri.strip()
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest.startswith("/"):
        return uri.lower() if uri.lower() in ("databricks", "databricks-uc") else uri
    scheme = scheme.lower()
    return f"{scheme}:{rest.rstrip('/')}" if is_server(f"{scheme}:") and rest.strip("/") else f"{scheme}:{rest}"


def shown(uri: str) -> str:
    """Return a store address without its password."""
    _, _, behind = uri.partition("://")
    user, at, _ = behind.partition("/")[0].rpartition("@")
    name, colon, password = user.partition(":")
    return uri.replace(f"{user}{at}", f"{name}:***@", 1) if at and colon and password else uri


def dialect(uri: str) -> str:
    """Return the kind of store that an address names: ``postgresql`` for ``postgresql+psycopg2://host/name``."""
    if uri in ("databricks", "databricks-uc", "uc"):
        return uri
    scheme, colon, _ = uri.partition(":")
    return scheme.partition("+")[0].lower() if colon else ""


def is_server(uri: str) -> bool:
    """Return whether an address is that of an HTTP server."""
    return uri.partition(":")[0].lower() in _SERVERS


def check_address(uri: str) -> None:
    """Refuse an address of a kind that is not accepted; the store itself is not contacted.

    Raises:
        ReportError: what was given, and what is expected.
    """
    kind = dialect(uri)
    if kind == "sqlite" and not uri.startswith("sqlite:///"):
        raise ReportError(f"tracking store {shown(uri)!r}: expected sqlite:///FILE")
    if is_server(uri):
        _check_host(uri)
    if kind in ("databricks-uc", "uc"):
        raise ReportError(f"tracking store {shown(uri)!r} is a registry of models; expected databricks for runs")
    if kind in ("", "file"):
        raise ReportError(_path_refused(uri))
    if kind not in ("sqlite", *DATABASES, *_SERVERS, "databricks", *_schemes_of_plugins()):
        raise ReportError(f"tracking store {shown(uri)!r}: {_unknown(kind)}")


def _check_host(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        names_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text may contain a part of a password
        names_host = False
    if not names_host:
        raise ReportError(f"tracking store {shown(uri)!r} names no server; expected http://HOST:PORT")


def _path_refused(uri: str) -> str:
    path = Path(urlsplit(uri).path if dialect(uri) == "file" else uri)
    if dialect(uri) == "file" or path.is_dir():
        why = "a folder of files is no longer developed by MLflow and is not taken"
        return f"tracking store {uri!r}: {why}; expected sqlite:///FILE (`mlflow migrate-filestore` moves old runs)"
    meant = f"; did you mean 'sqlite:///{uri}'?" if path.suffix in (".db", ".sqlite", ".sqlite3") else ""
    return f"tracking store {uri!r}: {EXPECTED}{meant}"


def _unknown(kind: str) -> str:
    if kind in _PLUGINS:
        return f"MLflow does not know {kind}:// here; install {_PLUGINS[kind]}"
    return f"expected postgresql://, not {kind}://" if kind == "postgres" else EXPECTED


def _schemes_of_plugins() -> set[str]:
    """Return the schemes that installed packages add to MLflow."""
    return {entry.name for entry in entry_points(group="mlflow.tracking_store")}
