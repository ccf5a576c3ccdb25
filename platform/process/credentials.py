"""The user and password of a tracking store: kept in the environment, never written to disk or shown in a command line.

MLflow's client reads ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, so that the address of a server is
used without them. The address of a database has to hold its password; it is masked wherever it is kept or shown.
"""

import os
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

from nmlab.trials.contract.secrets import MASK, has_secret, masked

URI, USER, PASSWORD, TOKEN = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
OPTION = "--tracking-uri"
NOTIFY_OPTION, NOTIFY = "--notify", "NMLAB_NOTIFY"
"""An option whose whole value is a secret, and the environment variable that means the same."""
_NOTIFYING = {"sweep", "resume", "extend"}
_VARIABLES = {OPTION: URI, NOTIFY_OPTION: NOTIFY}


def take_credentials(uri: str) -> str:
    """Return an address without user and password, which are put into the environment; only http addresses change.

    Raises ``ValueError`` for an address whose password is not percent-encoded.
    """
    clean, found = split_credentials(uri)
    if found:
        os.environ.pop(TOKEN, None)  # it would be used instead
        os.environ.update(found)
        if os.environ.get(URI) == uri:
            os.environ[URI] = clean
    return clean


def split_credentials(uri: str) -> tuple[str, dict[str, str]]:
    """Return an http address without user and password, and environment variables that hold them; others unchanged.

    Raises ``ValueError`` for an address whose password is not percent-encoded.
    """
    if not uri.lower().startswith(("http://", "https://")):
        return uri, {}
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise ValueError(
            f"tracking store {masked(uri)!r}: a user or password with / @ : ? # in it must be percent-encoded, or "
            f"given in {USER} and {PASSWORD}"
        ) from error
    if "@" not in parts.netloc:
        return uri, {}
    clean = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.password is None:  # a token in the place of a user
        return clean, {TOKEN: unquote(parts.username or "")}
    return clean, {USER: unquote(parts.username or ""), PASSWORD: unquote(parts.password)}


def kept_uri(uri: str) -> str:
    """Return the store's address as a launch records it: with a mask in place of the password."""
    parts = urlsplit(uri)
    user = os.environ.get(USER)
    if parts.scheme.lower() in ("http", "https") and user and os.environ.get(PASSWORD) and "@" not in parts.netloc:
        return urlunsplit(parts._replace(netloc=f"{user}:{MASK}@{parts.netloc}"))
    return masked(uri)


def restored_uri(kept: str, *, given: str | None = None) -> str:
    """Return the address for which ``kept_uri`` returned ``kept``, with the password that this process was given.

    ``given`` is an address that the user names now; it is tried before ``MLFLOW_TRACKING_URI``. Raises ``ValueError``
    if the password is missing.
    """
    if MASK not in kept:
        return take_credentials(kept)  # an earlier version recorded the password too
    clean, found = split_credentials(kept)
    for uri in (given, os.environ.get(URI)):
        if uri and MASK not in uri and masked(split_credentials(uri)[0]) == clean:
            return take_credentials(uri)
    if found.get(PASSWORD) == MASK and (os.environ.get(TOKEN) or os.environ.get(PASSWORD)):
        os.environ.setdefault(USER, found[USER])
        return clean
    where = f"{PASSWORD}, and its user in {USER}" if found else f"{URI}, as the whole address"
    raise ValueError(f"tracking store {kept!r}: a launch does not record the password; give it in {where}")


def arguments_without_secrets(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[list[str], dict[str, str]] | None:
    """Return a command line without passwords, and the environment that holds them; None if there is no password in it.

    The option for the tracking store, and the one for the address of notifications, are taken out, because their
    environment variables mean the same.
    """
    kept, moved, skip = [], dict(environment), False
    for place, argument in enumerate(arguments):
        if skip:
            skip = False
            continue
        name, equals, value = argument.partition("=")
        given = value if equals else next(iter(arguments[place + 1 :]), "")
        if _is_secret(name, given, arguments):
            moved[_VARIABLES[name]], skip = given, not equals
        else:
            kept.append(argument)
    return (kept, moved) if len(kept) != len(arguments) else None


def _is_secret(option: str, value: str, arguments: Sequence[str]) -> bool:
    """Return whether the value of an option is not to stay in a command line with these arguments."""
    if option == NOTIFY_OPTION:
        return bool(value) and not _NOTIFYING.isdisjoint(arguments)
    return option == OPTION and has_secret(value)
