"""The results folder, the tracking store and the address for messages that a function takes where none is named.

They are those of the command line: ``NMLAB_RESULTS``, else ``results``; ``MLFLOW_TRACKING_URI``, else
``sqlite:///nmlab.db``; ``NMLAB_NOTIFY``, else none.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmlab.platform.process.posting import SecretUrl

DEFAULT_URI = "sqlite:///nmlab.db"
DEFAULT_RESULTS = "results"


def results_folder(given: str | Path | None) -> Path:
    """Return the folder for launches and reports; raises ``ValueError`` for a URL."""
    return local_path(given or os.environ.get("NMLAB_RESULTS") or DEFAULT_RESULTS, what="results folder")


def local_path(given: str | Path, *, what: str) -> Path:
    """Return a local path; raises ``ValueError`` for a URL, which ``what`` names."""
    from nmlab.platform.launches.launch import check_is_local

    check_is_local(given, what=what)
    return Path(given).expanduser()


def store_uri(given: str | None) -> str:
    """Return the address of a tracking store without its password.

    The password is put into the environment of this process, where MLflow reads it. Raises ``ValueError`` for an
    address whose password is not percent-encoded.
    """
    from nmlab.platform.process.credentials import take_credentials

    return take_credentials(given or usual_uri())


def usual_uri() -> str:
    """Return the address of the store that is taken where none is named."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def notify_url(given: str | None) -> "SecretUrl | None":
    """Return the address that messages on a launch are posted to: ``given``, else ``NMLAB_NOTIFY``; None is nowhere.

    Raises ``ValueError`` for what is no address of http or https; the text shows no more of it than its host.
    """
    from nmlab.platform.process.credentials import NOTIFY, NOTIFY_OPTION

    text = (os.environ.get(NOTIFY) or None) if given is None else given
    if text is None:
        return None
    from nmlab.platform.process.posting import secret_url

    return secret_url(text, what=f"{NOTIFY_OPTION} ({NOTIFY})")


def is_usual_store(uri: str) -> bool:
    """Return whether an address means the store that is taken where none is named."""
    from nmlab.platform.tracking.address import absolute_uri

    return absolute_uri(uri) == absolute_uri(usual_uri())


def is_usual_folder(results: Path) -> bool:
    """Return whether a folder is the one for results that is taken where none is named."""
    return results.expanduser().resolve() == results_folder(None).resolve()
