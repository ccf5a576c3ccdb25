"""What the command line does to its own process, and a program that imports nmlab does not want."""

import os
import sys

from nmlab.platform.cluster.home import prepare_home
from nmlab.platform.process.credentials import arguments_without_secrets
from nmlab.platform.process.logs import quieten, show_log
from nmlab.platform.process.openmp_policy import patience

__all__ = ["hide_secrets", "prepare_process", "quieten", "show_log"]

OTHERS_MAY_WRITE = 0o002
"""Added to the umask: other users never may. Whether the group may is left to the umask of the user."""


def prepare_process() -> None:
    """Set the environment and the umask of this process, hide its secrets and show its log.

    Raises ``ValueError`` with one line if no home folder can be made for a user without an account.
    """
    os.environ.update(patience())
    os.umask(os.umask(0) | OTHERS_MAY_WRITE)
    hide_secrets()
    show_log()
    prepare_home(os.environ)


def hide_secrets() -> None:
    """Start this process again without the passwords of its command line, which every user of the machine can read."""
    if found := arguments_without_secrets(sys.orig_argv[1:], os.environ):
        arguments, environment = found
        os.execve(sys.executable, [sys.executable, *arguments], environment)
