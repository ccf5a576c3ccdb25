"""The command line. Each verb is a module that imports what it needs when it is called, so that ``--help`` is quick."""

import os
import sys

from nmlab.platform.cli.app import app
from nmlab.platform.cluster.home import prepare_home
from nmlab.platform.process.credentials import arguments_without_secrets
from nmlab.platform.process.logs import show_log
from nmlab.platform.process.openmp_policy import patience
from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked

OTHERS_MAY_WRITE = 0o002
"""Added to the umask: other users never may. Whether the group may is left to the umask of the user."""


def main() -> None:
    """Run ``nmlab``. Exit code 0, 1 for work that failed, 2 for bad input, which is explained in one line."""
    os.environ.update(patience())
    os.umask(os.umask(0) | OTHERS_MAY_WRITE)
    _hide_secrets()
    show_log()
    try:
        prepare_home(os.environ)
        app()
    except ValueError as error:
        print(f"nmlab: {printable(masked(str(error)))}", file=sys.stderr)
        sys.exit(2)


def _hide_secrets() -> None:
    """Start this process again without the passwords of its command line, which every user of the machine can read."""
    if found := arguments_without_secrets(sys.orig_argv[1:], os.environ):
        arguments, environment = found
        os.execve(sys.executable, [sys.executable, *arguments], environment)


__all__ = ["app", "main"]
