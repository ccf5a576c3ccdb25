"""nmlab: search and ablate learned N:M sparsity masks on frozen language models.

The packages ``nmlab.platform``, ``nmlab.trials``, ``nmlab.search_spaces`` and ``nmlab.reports`` are folders at the root
of the repository. Here are links to them, which become folders in a wheel.
"""

import logging
from typing import TYPE_CHECKING

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a program that uses nmlab decides what is shown

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """Return the installed version; a package that was shipped to a cluster carries no metadata."""
    from importlib import metadata

    try:
        return metadata.version("nmlab")
    except metadata.PackageNotFoundError:
        return "unknown"
