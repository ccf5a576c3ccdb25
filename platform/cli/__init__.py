"""The command line. Each verb is a module that imports what it needs when it is called, so that ``--help`` is quick."""

import sys

from nmlab.platform.api.command import prepare_process
from nmlab.platform.cli import bash_words
from nmlab.platform.cli.app import app
from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked


def main() -> None:
    """Run ``nmlab``. Exit code 0, 1 for work that failed, 2 for bad input, which is explained in one line."""
    try:
        prepare_process()
        bash_words.answer(app) if bash_words.is_asked() else app()
    except ValueError as error:
        print(f"nmlab: {printable(masked(str(error)))}", file=sys.stderr)
        sys.exit(2)


__all__ = ["app", "main"]
