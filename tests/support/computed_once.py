"""What every plan, run and evaluation begins with, computed once a process: tokens, traces of models, speeds.

Each is a function of its key alone, and has its own tests beside the code. Together they are three quarters of what a
command on the built-in model and text takes.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from nmlab.platform.planning import machine
from nmlab.trials.data import readable, windows
from nmlab.trials.models import usage

_TRACES: dict[Hashable, Any] = {}


@contextmanager
def computed_once() -> Iterator[None]:
    """Keep what these functions return until the block ends; what they raise is not kept."""
    kept: tuple[tuple[Any, str, Callable[..., Hashable]], ...] = (
        (windows, "_encode", _text_key),
        (readable, "_tokens", _text_key),
        (usage, "_traced", _model_key),
        (machine, "_speeds", _speed_key),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module, name, key in kept:
            patch.setattr(module, name, _remembered(getattr(module, name), key=key))
        yield


@contextmanager
def traced_once() -> Iterator[None]:
    """Keep traces of models alone; what one block has found is there in the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage, "_traced", _remembered(usage._traced, key=_model_key, found=_TRACES))
        yield


def _remembered(
    function: Callable[..., Any], *, key: Callable[..., Hashable], found: dict[Hashable, Any] | None = None
) -> Callable[..., Any]:
    found = {} if found is None else found

    def remembered(*arguments: Any, **named: Any) -> Any:
        place = key(*arguments, **named)
        if place not in found:
            found[place] = function(*arguments, **named)
        return found[place]

    return remembered


def _text_key(documents: Any, tokenizer: Any) -> Hashable:
    state = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else id(tokenizer)
    return tuple(documents), state, tokenizer.eos_token_id


def _model_key(model: Any, *, tokens: int) -> Hashable:
    shapes = tuple((name, parameter.shape) for name, parameter in model.named_parameters())
    return type(model), model.config.to_json_string(use_diff=False), str(model.device), shapes, tokens


def _speed_key(device: str, dtype: torch.dtype) -> Hashable:
    return device, dtype, torch.get_num_threads()
