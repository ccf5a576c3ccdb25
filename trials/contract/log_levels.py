"""Other libraries' loggers, silenced around their use: importing nmlab changes none of them."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_guard = threading.Lock()
_users: dict[str, int] = {}
_before: dict[str, int] = {}


@contextmanager
def at_least(level: int, *names: str) -> Iterator[None]:
    """Let the loggers ``names`` pass on what is of ``level`` or above while the block lasts.

    Blocks of several threads may overlap: a logger gets its own level back when the last of them ends, and has that
    of the first until then.
    """
    with _guard:
        for name in names:
            logger = logging.getLogger(name)
            if not _users.setdefault(name, 0):
                _before[name] = logger.level
                logger.setLevel(level)
            _users[name] += 1
    try:
        yield
    finally:
        with _guard:
            for name in names:
                _users[name] -= 1
                if not _users[name]:
                    logging.getLogger(name).setLevel(_before.pop(name))
