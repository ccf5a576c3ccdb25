"""Full disks: recognise the error, and try again until there is room.

A sweep of days may meet a full disk or a used-up quota. Results that were computed by then are kept and written once
there is room again.
"""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FULL = {errno.ENOSPC, errno.EDQUOT}
# Libraries that do not write through Python's files pass on the system's message and not its error number.
_WORDS = ("no space left on device", "disk quota exceeded", "database or disk is full")
_LOOK_AGAIN_S = 1.0


class DiskFullError(OSError):
    """A file could not be written because the disk stayed full."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception means that a disk is full or a quota used up."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(words in str(error).lower() for words in _WORDS)


def retry_while_disk_full(write: Callable[[], T], *, given_up: Callable[[], bool]) -> T:
    """Return ``write()``, called again every second for as long as the disk is full.

    ``write`` must leave nothing behind that hinders its next call. Raises ``DiskFullError`` once ``given_up()`` returns
    true.
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
