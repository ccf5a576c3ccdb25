"""A cache on disk for values that take long to compute and depend on this machine alone."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

from nmlab.trials.files.checked_json import read_checked, write_checked

_FORMAT = 1
T = TypeVar("T")


def get_or_compute(name: str, *, state: str, compute: Callable[[], T]) -> T:
    """Return the JSON value that ``compute()`` returns, from the user's cache folder if it is there already.

    ``state`` identifies in a few characters all that the value depends on; values of other states are ignored. A
    damaged file is ignored; if the folder cannot be found, read or written, the value is computed every time.
    """
    folder = _folder()
    if folder is None:
        return compute()
    path = folder / f"{name}-{state}.checked.json"  # earlier versions read the plain name and know no checksums
    with suppress(OSError, ValueError):
        return cast(T, read_checked(path, kind="cache", format=_FORMAT, before=())["value"])
    value = compute()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_checked(path, {"value": value}, format=_FORMAT)
    return value


def _folder() -> Path | None:
    """Return ``nmlab`` below ``XDG_CACHE_HOME``, else below ``~/.cache``; None for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nmlab"
    except RuntimeError:  # as in a container that runs under an unknown user number
        return None
