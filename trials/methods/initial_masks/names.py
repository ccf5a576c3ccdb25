"""Which methods give initial masks, and how they are named; loads no torch, and no method that is not asked for.

An initial mask is named by its method, ``wanda``. A method that itself starts from a mask may be followed by the one
that it starts from: ``first_order:magnitude`` is first_order with its own ``initial_mask`` magnitude.
"""

from collections.abc import Sequence

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, MethodConfig

FROM = ":"
"""Stands between the name of a method and that of the mask that it starts from."""
_HYPERPARAMETER = "initial_mask"


def initial_mask_methods() -> tuple[str, ...]:
    """Return the names of the methods whose masks can be initial masks: sparse and not learned."""
    return tuple(name for name in registry.names() if _gives_masks(name))


def initial_mask_method(name: str) -> tuple[Method, MethodConfig]:
    """Return the method of the initial mask ``name``, with its hyperparameters.

    They are the defaults, but for the mask that the method starts from where the name has one. Raises ``ValueError``
    for a name of no method, and where the method starts from none.
    """
    method, mark, base = name.partition(FROM)
    found = registry.get(method)
    return found, found.configure({_HYPERPARAMETER: base} if mark else {})


def methods_behind(name: str) -> tuple[Method, ...]:
    """Return the methods that compute the initial mask ``name``: its own, and the one that this starts from, if any."""
    method, config = initial_mask_method(name)
    base = getattr(config, _HYPERPARAMETER, None)
    return (method,) if base is None else (method, registry.get(base))


def short_name(name: str) -> str:
    """Return the shortest name of the initial mask ``name``: without the mask that its method starts from anyway."""
    method, config = initial_mask_method(name)
    return method.name if config == method.configure({}) else name


def unknown_reason(name: str, *, others: Sequence[str] = ()) -> str | None:
    """Return a message if no method of this name gives initial masks, else None; ``others`` are allowed beside them."""
    method, mark, base = name.partition(FROM)
    if name in others or (not mark and _gives_masks(name)):
        return None
    if not _gives_masks(method):
        return unknown_name(method, kind=_HYPERPARAMETER, known=(*initial_mask_methods(), *others))
    if not _takes_mask(method):
        return f"initial_mask = {name}: {method} starts from no other mask; expected {_HYPERPARAMETER} = {method}"
    return unsupported_base_reason(base)


def unsupported_base_reason(name: str) -> str | None:
    """Return a message if no one-shot method can start from a mask of this name, else None.

    One that starts from a mask itself gives none to others: there is no chain of them.
    """
    known = [each for each in initial_mask_methods() if not _takes_mask(each)]
    if name in known:
        return None
    if name in initial_mask_methods():
        return f"initial_mask = {name} starts from another mask itself; expected one of {', '.join(sorted(known))}"
    return unknown_name(name, kind=_HYPERPARAMETER, known=known)


def _gives_masks(name: str) -> bool:
    if name not in registry.names():
        return False
    method = registry.get(name)
    return method.sparse and not method.learned


def _takes_mask(name: str) -> bool:
    return _HYPERPARAMETER in registry.get(name).config.model_fields
