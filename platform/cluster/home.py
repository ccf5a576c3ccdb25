"""Set a home folder and a user name for users without an account, as in containers that run under a user id.

MLflow, Ray and torch need both when they are imported.
"""

import getpass
import os
import pwd
import stat
from collections.abc import MutableMapping
from pathlib import Path

from nmlab.platform.cluster.local_session import base_folder


def prepare_home(environment: MutableMapping[str, str]) -> None:
    """Set HOME and USER if they are missing and the system has no account for this user.

    Raises ``ValueError`` with one line if no home folder can be made.
    """
    try:
        pwd.getpwuid(os.getuid())
        is_known = True
    except KeyError:
        is_known = False
    if not environment.get("HOME") and not is_known:
        environment["HOME"] = str(_own_folder(base_folder(environment)))
    try:
        getpass.getuser()
    except (KeyError, OSError):
        environment["USER"] = str(os.getuid())


def _own_folder(base: Path) -> Path:
    """Return a folder that only this user can open; raises ``ValueError`` if another user owns it or can open it."""
    folder = base / f"nmlab-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ValueError(f"user {os.getuid()} has no home and {str(folder)!r} cannot be made; set HOME") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ValueError(f"user {os.getuid()} has no home and {str(folder)!r} is open to others; set HOME to a folder")
    return folder
