"""The methods by name. A method is registered by one line and imported when first asked for."""

from functools import cache
from importlib import import_module

from nmlab.trials.method import Method
from nmlab.trials.names import unknown_name

_HOME = {
    "dense": "nmlab.trials.methods.dense",
    "random": "nmlab.trials.methods.random",
    "magnitude": "nmlab.trials.methods.magnitude",
    "wanda": "nmlab.trials.methods.wanda",
    "sparsegpt": "nmlab.trials.methods.sparsegpt",
    "sparsegpt_mask": "nmlab.trials.methods.sparsegpt_mask",
    "gblm": "nmlab.trials.methods.gblm",
    "pruner_zero": "nmlab.trials.methods.pruner_zero",
    "maskllm": "nmlab.trials.methods.maskllm",
    "proxsparse": "nmlab.trials.methods.proxsparse",
    "maskpro": "nmlab.trials.methods.maskpro",
    "susi": "nmlab.trials.methods.susi",
}


def names() -> tuple[str, ...]:
    """Return the names of all methods."""
    return tuple(_HOME)


@cache
def get(name: str) -> Method:
    """Return the method called ``name``; raises ``ValueError`` with the nearest name."""
    if name not in _HOME:
        raise ValueError(unknown_name(name, kind="method", known=_HOME))
    method = import_module(_HOME[name]).METHOD
    assert isinstance(method, Method)
    assert method.name == name
    return method
