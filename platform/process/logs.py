"""Where the records of the logger ``nmlab`` go.

nmlab logs to ``logging.getLogger("nmlab")`` and its children, one a module, and a program that imports it decides what
becomes of them. The command line shows warnings on the standard error; what it prints as its result is no log.

Levels: ``WARNING`` for what the user should do something about, ``INFO`` for what nmlab recovered from or waits for,
``DEBUG`` for single steps.
"""

import logging
import sys

from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked

ROOT = "nmlab"


class _Lines(logging.Handler):
    """Writes a record as one line to the present standard error, without passwords and terminal control characters."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(printable(masked(f"nmlab: {record.getMessage()}")), file=sys.stderr, flush=True)
        except Exception:  # a log must not end what it tells of; this is what `logging` asks of its handlers
            self.handleError(record)


def show_log(level: int = logging.WARNING) -> None:
    """Show records of ``level`` or above on the standard error; called again, change the level."""
    logger = logging.getLogger(ROOT)
    lines = next((handler for handler in logger.handlers if isinstance(handler, _Lines)), None)
    if lines is None:
        lines = _Lines()
        logger.addHandler(lines)
    lines.setLevel(level)


def quieten(wanted: bool) -> bool:
    """Show errors alone where ``wanted``, which is the value of ``--quiet``; return it."""
    if wanted:
        show_log(logging.ERROR)
    return wanted
