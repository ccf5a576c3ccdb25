"""A disk that is full: how it shows, and waiting until there is room again.

A sweep of days meets a full disk or a used-up quota sooner or later. Somebody then makes room; what was computed until
then must still be there to be written.
"""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FULL = {errno.ENOSPC, errno.EDQUOT}
# Libraries that do not write through Python's files hand on the system's words and not its number.
_WORDS = ("no space left on device", "disk quota exceeded", "database or disk is full")
_LOOK_AGAIN_S = 1.0


class DiskFullError(OSError):
    """A file could not be written for want of room, and nobody made room while there was time to wait."""


def is_disk_full(error: BaseException) -> bool:
    """Say whether an exception means that a disk has no room left, or that a quota is used up."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(words in str(error).lower() for words in _WORDS)


def once_there_is_room(write: Callable[[], T], *, given_up: Callable[[], bool]) -> T:
    """Return ``write()``, called again every second for as long as the disk is full.

    ``write`` must leave nothing behind that hinders its next call. Raises ``DiskFullError`` once ``given_up()`` says
    that nobody waits for the file any more.
    """
    while True:
        try:
            return write()
        except Exception as error:  # the libraries that write have exception types of their own
            if not is_disk_full(error):
                raise
            if given_up():
                raise DiskFullError(errno.ENOSPC, f"the disk stayed full: {error}") from error
        time.sleep(_LOOK_AGAIN_S)
