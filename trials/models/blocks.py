"""Find the decoder blocks of a model: the list of modules through which its language model runs hidden states."""

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.models.usage import usage_of

_DEPTHS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "n_layer", "num_layers")
"""Names by which configurations give the number of decoder blocks, the most specific first."""

_Lists = list[tuple[str, nn.ModuleList]]


def decoder_blocks(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Return the qualified name and the list of the decoder blocks.

    They are the module list that is as long as the configuration says and has linear layers. Of several lists, as of a
    vision tower and a language model, it is the one in the model's decoder, or else the one that a forward over text
    calls. Raises ``SourceError`` where there is none or more than one, because pruning the wrong layers would go
    unnoticed.
    """
    depths = _depths(model)
    for depth in depths:
        found = _lists(model, depth)
        for narrowed in (found, _in_decoder(model, found)):
            if len(narrowed) == 1:
                return narrowed[0]
        if found:
            called = [(name, blocks) for name, blocks in found if _is_called(model, name)]
            if len(called) == 1:
                return called[0]
            raise _refusal(model, depth, called or found)
    raise _refusal(model, depths[0], [])


def _depths(model: PreTrainedModel) -> list[int]:
    config = model.config.get_text_config(decoder=True)
    depths = [getattr(config, name, None) for name in _DEPTHS]
    return list(dict.fromkeys(depth for depth in depths if isinstance(depth, int) and depth > 0)) or [0]


def _lists(model: PreTrainedModel, depth: int) -> _Lists:
    """Return the outermost module lists of length ``depth`` that contain linear layers."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and any(_linears(module))
    ]
    return [(name, module) for name, module in found if not any(name.startswith(f"{other}.") for other, _ in found)]


def _in_decoder(model: PreTrainedModel, found: _Lists) -> _Lists:
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    inside = set() if decoder is None else {id(module) for module in decoder.modules()}
    return [(name, blocks) for name, blocks in found if id(blocks) in inside]


def _is_called(model: PreTrainedModel, name: str) -> bool:
    return any(module.startswith(f"{name}.") for module in usage_of(model).called)


def _linears(module: nn.Module) -> Iterator[nn.Linear]:
    return (child for child in module.modules() if isinstance(child, nn.Linear))


def _refusal(model: PreTrainedModel, depth: int, found: _Lists) -> SourceError:
    """Return the error that says why no decoder blocks were found, and which unsupported kind of layer they have."""
    name = type(model).__name__
    if found:
        named = ", ".join(name for name, _ in found)
        return SourceError(f"{name}: expected one list of {depth} decoder blocks, found {len(found)}: {named}")
    expected = f"{name}: expected one list of {depth} decoder blocks with linear layers (nn.Linear), found none"
    kinds = sorted({type(module).__name__ for module in model.modules() if _is_conv1d(module)})
    if not kinds:
        lists = {name: len(module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
        others = ", ".join(f"{name} has {length}" for name, length in list(lists.items())[:3])
        return SourceError(f"{expected}; {others}" if others else expected)
    return SourceError(
        f"{expected}; its blocks compute with {', '.join(kinds)}, which holds its weight as [in, out] and is not "
        "supported: 100% of the decoder blocks' matrix weights would stay dense"
    )


def _is_conv1d(module: nn.Module) -> bool:
    """Return whether a module is GPT-2's ``Conv1D``: a linear layer whose weight is stored as [in, out]."""
    return type(module).__name__ == "Conv1D"
