"""Which methods give initial masks; loads no torch, and no method that is not asked for."""

from collections.abc import Sequence

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.methods import registry


def initial_mask_methods() -> tuple[str, ...]:
    """Return the names of the methods whose masks can be initial masks: sparse and not learned."""
    return tuple(name for name in registry.names() if _gives_masks(name))


def unknown_reason(name: str, *, others: Sequence[str] = ()) -> str | None:
    """Return a message if no method of this name gives initial masks, else None; ``others`` are allowed beside them."""
    if name in others or (name in registry.names() and _gives_masks(name)):
        return None
    return unknown_name(name, kind="initial_mask", known=(*initial_mask_methods(), *others))


def _gives_masks(name: str) -> bool:
    method = registry.get(name)
    return method.sparse and not method.learned
