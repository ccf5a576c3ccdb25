"""Files that are whole or not there, whoever dies or runs out of room while writing them."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, and put what was written in its place when the block ends well.

    The name ends in ``.partial`` and is nobody else's: threads, and machines that share the folder, may all be at it.
    """
    partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
