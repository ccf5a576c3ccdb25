"""Atomic writes: a file is complete or absent, even if its writer dies or the disk is full."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to, and rename it to ``path`` if the block ends without error.

    The name ends in ``.partial`` and is unique among threads and among machines that share the folder.
    """
    partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
