"""Names of a module that are imported on first use, so that the module itself is light."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(module: str, *, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module.

    Args:
        module: its full name.
        places: the module that holds each name: one within the package, such as ``maths``, or one with its full name.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place = places[name]
        return getattr(import_module(place if "." in place else f"{module}.{place}"), name)

    return get
