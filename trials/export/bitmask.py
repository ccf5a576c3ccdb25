"""`sparse-24-bitmask`: the layout in which compressed-tensors kept 2:4 checkpoints until it dropped sparsity in 2026.

Of a pruned layer NAME three tensors stand in place of ``NAME.weight``: ``NAME.compressed`` holds the kept weights row
by row, ``NAME.bitmask`` which inputs they belong to (input k of a row is bit ``k % 8`` of byte ``k // 8``), and
``NAME.shape`` the size of the weight. ``config.json`` says so under ``quantization_config``. That library is not used
here: the files are for versions of it that read the layout, and can be decompressed again here.

Legend: O outputs, I inputs, K kept weights of a row (I / 2), P bytes of a row's bits, B sequences, T tokens.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export.card import model_card
from nmlab.trials.export.exporter import Exporter, ExportError, describe, plain_tree
from nmlab.trials.export.huggingface import not_pruned, tied_parameters
from nmlab.trials.export.subject import Subject
from nmlab.trials.models.sources import DATA_ONLY

FORMAT = "sparse-24-bitmask"
_WEIGHT, _PARTS = ".weight", (".compressed", ".bitmask", ".shape")
_CONFIG, _OF_LIBRARY = "quantization_config", "0.9.4"  # the release that the layout was checked against
_FORM = (
    "Pruned layers are stored without their zeros, in the layout `sparse-24-bitmask` of compressed-tensors. "
    "Its support ended in 2026: compressed-tensors up to 0.14 and vLLM before 0.19 read it. To run "
    "the model anywhere else, export it as `hf`."
)


class SparseBitmask(Exporter):
    """The kept half of the pruned weights and one bit for each: smaller on disk, with no other benefit."""

    name = FORMAT
    about = "legacy: 2:4 weights without their zeros, for compressed-tensors up to 0.14; serving support has ended"

    def unsupported_reason(self, subject: Subject) -> str | None:
        _, pattern = subject.masks()
        if pattern != Pattern(2, 4):
            return f"the layout is for 2:4, this model follows {pattern}"
        return None

    def write(self, subject: Subject, folder: Path) -> dict[str, Any]:
        tree, (masks, _) = plain_tree(subject), subject.masks()
        state = dict(tree.state_dict())
        dense_bytes = sum(state[f"{name}{_WEIGHT}"].nbytes for name in masks)
        packed: dict[str, Tensor] = {}
        for name, mask_OI in masks.items():
            packed |= {f"{name}{part}": t for part, t in compress(state.pop(f"{name}{_WEIGHT}"), mask_OI).items()}
        tree.save_pretrained(folder, state_dict={**state, **packed})
        subject.model.frozen.tokenizer.save_pretrained(folder)
        apart = not_pruned(subject)
        facts = {"tied": tied_parameters(tree), "not_pruned": apart}
        _describe_to_library(folder, ignore=apart, sparsity=_share_of_zeros(tree))
        card = model_card({**describe(subject), **facts}, form=_FORM)
        (folder / "README.md").write_text(card, encoding="utf-8")
        return {**facts, "packed_bytes": sum(t.nbytes for t in packed.values()), "dense_bytes": dense_bytes}

    def read_weights(self, subject: Subject, folder: Path) -> Mapping[str, Tensor]:
        state = read_state(folder)
        layers = subject.model.frozen.layers
        return {at.name: state[f"{at.name}{_WEIGHT}"] for at in layers if f"{at.name}{_WEIGHT}" in state}

    def read_logits(self, subject: Subject, folder: Path, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the decompressed weights; the library that reads the layout is not available."""
        model = load(folder).to(subject.model.frozen.device)
        logits: Tensor = model(input_ids=tokens_BT, use_cache=False).logits
        return logits


def compress(weight_OI: Tensor, mask_OI: Tensor) -> dict[str, Tensor]:
    """Return the compressed parts of a weight with a 2:4 mask, on the CPU.

    ``.compressed`` [O, K] in the type of the weight, ``.bitmask`` [O, P] uint8, ``.shape`` [2, 1] int64.
    """
    weight, mask = weight_OI.detach().cpu(), mask_OI.cpu()
    assert bool((mask.view(-1, 4).sum(1) == 2).all()), "two of four are kept"
    bits_OP = np.packbits(mask.numpy(), axis=-1, bitorder="little")
    return {
        ".compressed": weight[mask].view(weight.shape[0], -1),
        ".bitmask": torch.from_numpy(bits_OP),
        ".shape": torch.tensor(weight.shape).view(-1, 1),
    }


def decompress(parts: Mapping[str, Tensor], *, name: str) -> Tensor:
    """Undo ``compress``; raises ``ValueError`` that names the layer whose parts do not belong together."""
    compressed_OK, bits_OP, shape = (parts[part] for part in _PARTS)
    if shape.numel() != 2:
        raise ValueError(f"layer {name!r}: a shape of {shape.numel()} sizes, expected 2")
    outputs, inputs = (int(size) for size in shape.flatten())
    expected = ((outputs, inputs // 2), (outputs, -(-inputs // 8)))
    found = (tuple(compressed_OK.shape), tuple(bits_OP.shape))
    if bits_OP.dtype != torch.uint8 or inputs % 4 or found != expected:
        raise ValueError(f"layer {name!r}: values and bits {found}, expected {expected} for {outputs} x {inputs}")
    flags_OI = np.unpackbits(bits_OP.numpy(), axis=-1, count=inputs, bitorder="little").astype(bool)
    mask_OI = torch.from_numpy(flags_OI)
    if not bool((mask_OI.view(-1, 4).sum(1) == 2).all()):
        raise ValueError(f"layer {name!r}: its bits are no 2:4 mask")
    weight_OI = torch.zeros(outputs, inputs, dtype=compressed_OK.dtype)
    weight_OI[mask_OI] = compressed_OK.flatten()
    return weight_OI


def read_state(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a folder in this layout with packed layers decompressed; raises ``ValueError``."""
    stored = dict(_stored(sorted(folder.glob("*.safetensors"))))
    packed = sorted({key.removesuffix(".bitmask") for key in stored if key.endswith(".bitmask")})
    if not packed:
        raise ValueError(f"{folder} holds no layer in the layout {FORMAT}")
    for name in packed:
        if missing := [part for part in _PARTS if f"{name}{part}" not in stored]:
            raise ValueError(f"layer {name!r}: {name}{missing[0]} is not in the files")
        parts = {part: stored.pop(f"{name}{part}") for part in _PARTS}
        stored[f"{name}{_WEIGHT}"] = decompress(parts, name=name)
    return stored


def load(folder: Path) -> PreTrainedModel:
    """Return the model of a folder in this layout, dense, on the CPU; raises ``ValueError`` for damaged files."""
    config = AutoConfig.from_pretrained(folder, **DATA_ONLY)
    if getattr(config, _CONFIG, None) is not None:
        delattr(config, _CONFIG)
    state = read_state(folder)
    model = AutoModelForCausalLM.from_config(config, dtype=config.dtype, trust_remote_code=False)
    assert isinstance(model, PreTrainedModel)
    missing, unexpected = model.load_state_dict(state, strict=False)
    model.tie_weights()
    tied = {name for group in tied_parameters(model) for name in group}
    if lost := [*unexpected, *(name for name in missing if name not in tied)]:
        raise ExportError(f"{FORMAT}: {lost[0]!r} is in the model or in the files, not in both")
    return model.eval().requires_grad_(False)


def _stored(paths: Iterable[Path]) -> Iterable[tuple[str, Tensor]]:
    for path in paths:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                yield from ((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _describe_to_library(folder: Path, *, ignore: list[str], sparsity: float) -> None:
    """Write into the model's configuration the entries that the library reads."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    own = {"format": FORMAT, "targets": ["Linear"], "ignore": ignore, "sparsity_structure": "2:4"}
    config[_CONFIG] = {
        "quant_method": "compressed-tensors",
        "version": _OF_LIBRARY,
        "sparsity_config": {**own, "global_sparsity": sparsity},
    }
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _share_of_zeros(tree: PreTrainedModel) -> float:
    parameters = list(tree.parameters())
    zeros = sum(int((p == 0).sum()) for p in parameters)
    return float(zeros / sum(p.numel() for p in parameters))
