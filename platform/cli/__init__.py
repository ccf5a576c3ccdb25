"""The command line. Each verb is a module; what it needs is imported when it is called, so that ``--help`` is quick."""

import os
import sys

from nmlab.platform.cli.app import app
from nmlab.platform.waiting import patience
from nmlab.trials.contract.escaping import printable


def main() -> None:
    """Run ``nmlab``: exit code 0, 1 for work that failed, 2 for bad input, which is told in one line."""
    os.environ.update(patience())
    try:
        app()
    except ValueError as error:
        print(f"nmlab: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)


__all__ = ["app", "main"]
