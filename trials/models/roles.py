"""The role of every matrix weight of the decoder blocks, which decides whether it is pruned.

A *matrix weight* is a parameter with at least two dimensions above one that a matrix product, or a convolution that
mixes channels, takes as an operand. Vectors, biases (also those of stacked experts), depthwise convolutions,
elementwise factors and lookup tables are not matrix weights, and no share of weights counts them.

Roles are decided by what a weight does, never by its name. A *selector* chooses experts or tokens, or weighs a whole
branch by one number: its product goes into a choice such as top-k, or its module returns indices, or it has one output
for each expert beside the experts, or one output in all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.models.blocks import decoder_blocks
from nmlab.trials.models.usage import Usage, usage_of

Role = Literal["pruned", "selector", "unused", "named", "unsupported"]


@dataclass(frozen=True)
class BlockWeight:
    """A matrix weight with all its names, first that in the block that counts it; ``kind`` is its module type."""

    names: tuple[str, ...]
    block: int
    shape: tuple[int, ...]
    numel: int
    role: Role
    kind: str
    is_called: bool


def block_weights(model: PreTrainedModel, *, leave_dense: Sequence[str] = ()) -> tuple[tuple[BlockWeight, ...], str]:
    """Return the matrix weights of the decoder blocks, each once, and why their use is unknown ("" where it is known).

    ``leave_dense`` names weights that get the role ``named``. Raises ``SourceError`` for a name that fits no weight.
    """
    prefix, blocks = decoder_blocks(model)
    usage = usage_of(model)
    experts = _expert_counts(model)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    found: dict[int, BlockWeight] = {}
    for index, block in enumerate(blocks):
        selectors = _Selectors(f"{prefix}.{index}", block, usage, experts)
        for own, parameter in block.named_parameters():
            name = f"{prefix}.{index}.{own}"
            same = (name, *(other for other in names[id(parameter)] if other != name))
            if id(parameter) not in found and _is_matrix(model, same, usage):
                found[id(parameter)] = _weight(
                    model, same, block=index, prefix=prefix, usage=usage, selectors=selectors
                )
    return _with_named(list(found.values()), leave_dense), usage.problem


def _weight(
    model: PreTrainedModel, names: tuple[str, ...], *, block: int, prefix: str, usage: Usage, selectors: "_Selectors"
) -> BlockWeight:
    parameter = model.get_parameter(names[0])
    owners = [_owner(model, name) for name in names]
    outside = [name for name in names if not name.startswith(f"{prefix}.")]
    is_linear = all(isinstance(owner, nn.Linear) for owner in owners) and names[0].endswith(".weight")
    role: Role = "pruned" if is_linear and not outside else "unsupported"
    if selectors.has(names, owners[0]):
        role = "selector"
    elif not usage.problem and usage.touched.isdisjoint(names):
        role = "unused"
    kind = f"shared with {outside[0]}" if outside and is_linear else type(owners[0]).__name__
    called = bool(usage.problem) or all(
        name.rpartition(".")[0] in usage.called for name in _first_of_each(model, names)
    )
    return BlockWeight(names, block, tuple(parameter.shape), parameter.numel(), role, kind, called)


def _first_of_each(model: nn.Module, names: Sequence[str]) -> Iterator[str]:
    """Yield one name of every module among those of a parameter; a module that is shared is called under its first."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        own = f"{name}.weight"
        if own in names and id(module) not in seen:
            seen.add(id(module))
            yield own


def _is_matrix(model: nn.Module, names: Sequence[str], usage: Usage) -> bool:
    parameter, owner = model.get_parameter(names[0]), _owner(model, names[0])
    if isinstance(owner, nn.Linear) and names[0].endswith(".weight"):
        return True
    sizes = [size for size in parameter.shape if size > 1]
    if len(sizes) < 2 or _is_depthwise(owner):
        return False
    if usage.problem:
        return not isinstance(owner, nn.Embedding) and not names[0].endswith("bias")
    if usage.touched.isdisjoint(names):
        return not isinstance(owner, nn.Embedding)
    return len(sizes) > 2 or not usage.multiplied.isdisjoint(names)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.weight.shape[1] == 1


def _owner(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name.rpartition(".")[0])


def _expert_counts(model: PreTrainedModel) -> frozenset[int]:
    """Return the numbers of experts in a configuration; a number that counts something else does no harm."""
    settings = model.config.get_text_config(decoder=True).to_dict()
    return frozenset(
        value
        for name, value in settings.items()
        if "expert" in name and isinstance(value, int) and not isinstance(value, bool) and value > 1
    )


@dataclass(frozen=True)
class _Selectors:
    """Recognises the selectors of one block."""

    prefix: str
    block: nn.Module
    usage: Usage
    experts: frozenset[int]

    def has(self, names: Sequence[str], owner: nn.Module) -> bool:
        """Return whether a weight with ``names``, the first of them in this block, is a selector."""
        if not self.usage.selecting.isdisjoint(names):
            return True
        name = names[0]
        weight = self.block.get_parameter(name.removeprefix(f"{self.prefix}."))
        if weight.dim() != 2:
            return False
        outputs = weight.shape[0]
        if isinstance(owner, nn.Linear) and outputs == 1:
            return True
        return outputs in self.experts and self._stands_beside_experts(name, outputs)

    def _stands_beside_experts(self, name: str, count: int) -> bool:
        """Return whether the parent or grandparent module of a layer holds ``count`` experts within the block."""
        parts = name.removeprefix(f"{self.prefix}.").split(".")[:-1]
        around = {".".join(parts[:-depth]) for depth in (1, 2) if len(parts) >= depth}
        outer = around - {""} if len(parts) > 1 else around
        return any(_holds_experts(self.block.get_submodule(name), count) for name in outer)


def _holds_experts(module: nn.Module, count: int) -> bool:
    stacked = any(weight.dim() == 3 and weight.shape[0] == count for weight in module.parameters())
    return stacked or any(isinstance(child, nn.ModuleList) and len(child) == count for child in module.modules())


def _with_named(weights: Sequence[BlockWeight], leave_dense: Sequence[str]) -> tuple[BlockWeight, ...]:
    for pattern in leave_dense:
        if not any(fits(pattern, weight) for weight in weights):
            parts = {part for weight in weights for part in weight.names[0].split(".") if not part.isdigit()}
            raise SourceError(f"model.leave_dense: {unknown_name(pattern, kind='weight', known=parts - {'weight'})}")
    return tuple(
        _named(weight) if any(fits(pattern, weight) for pattern in leave_dense) else weight for weight in weights
    )


def _named(weight: BlockWeight) -> BlockWeight:
    return replace(weight, role="named") if weight.role in ("pruned", "unsupported") else weight


def fits(pattern: str, weight: BlockWeight) -> bool:
    """Return whether a pattern is one of a weight's names, or a run of whole parts of one; ``*`` matches anything."""
    wanted = pattern.split(".")
    for name in weight.names:
        if fnmatchcase(name, pattern):
            return True
        parts = name.split(".")
        runs = (parts[start : start + len(wanted)] for start in range(len(parts) - len(wanted) + 1))
        if any(all(map(fnmatchcase, run, wanted)) for run in runs):
            return True
    return False
