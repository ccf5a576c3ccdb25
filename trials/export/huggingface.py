"""`hf`: a dense checkpoint with zeros where the mask drops, for every reader of Hugging Face folders."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from nmlab.trials.contract.values import JsonObject
from nmlab.trials.export.card import model_card
from nmlab.trials.export.exporter import Exporter, describe, plain_tree
from nmlab.trials.export.subject import Subject, linear_of
from nmlab.trials.models.sources import DATA_ONLY


class HuggingFace(Exporter):
    """Writes model and tokenizer by ``save_pretrained``, and a model card."""

    name = "hf"
    about = "a Hugging Face folder, dense with zeros; same speed and memory as the dense model"

    def write(self, subject: Subject, folder: Path) -> JsonObject:
        tree = plain_tree(subject)
        tree.save_pretrained(folder)
        subject.model.frozen.tokenizer.save_pretrained(folder)
        facts = {"tied": tied_parameters(tree), "not_pruned": not_pruned(subject)}
        (folder / "README.md").write_text(model_card({**describe(subject), **facts}), encoding="utf-8")
        return facts

    def read_weights(self, subject: Subject, folder: Path) -> Mapping[str, Tensor]:
        model = _reload(subject, folder)
        return {at.name: linear_of(model, at.name).weight.detach().cpu() for at in subject.model.frozen.layers}

    def read_logits(self, subject: Subject, folder: Path, tokens_BT: Tensor) -> Tensor:
        logits: Tensor = _reload(subject, folder)(input_ids=tokens_BT, use_cache=False).logits
        return logits


def tied_parameters(tree: nn.Module) -> list[list[str]]:
    """Return the groups of names that stand for one and the same tensor."""
    names: dict[int, list[str]] = {}
    for name, parameter in tree.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def not_pruned(subject: Subject) -> list[str]:
    """Return the linear layers and embeddings that no mask touches."""
    pruned = {name for layer in subject.model.frozen.layers for name in (layer.name, *layer.aliases)}
    modules = subject.model.module.named_modules()
    return [name for name, module in modules if isinstance(module, nn.Linear | nn.Embedding) and name not in pruned]


def _reload(subject: Subject, folder: Path) -> PreTrainedModel:
    frozen = subject.model.frozen
    dtype = getattr(torch, frozen.source.dtype)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **DATA_ONLY)
    assert isinstance(model, PreTrainedModel)
    moved = model.to(frozen.device).eval()
    assert isinstance(moved, PreTrainedModel)
    return moved
