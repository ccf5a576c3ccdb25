"""A language model that is loaded once, shared by many trials, and never written to."""

import copy
import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from nmlab.trials.errors import SourceError
from nmlab.trials.models.prunable import PrunableLayer, prunable_layers
from nmlab.trials.models.sources import ModelSource, locate


@dataclass(eq=False)
class FrozenModel:
    """The weights, held once in this process; trials take views of it (``view``) and wear their own masks.

    On the CPU the weights stay in the checkpoint's memory-mapped pages, which several processes of one machine share.
    """

    source: ModelSource
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    layers: tuple[PrunableLayer, ...]
    digest: str
    _copying: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, source: ModelSource, *, device: torch.device | str = "cpu") -> "FrozenModel":
        """Load a model for inference; raises ``SourceError`` when it cannot be reached or read."""
        folder = locate(source)
        module = _read_module(folder, source).to(device).eval().requires_grad_(False)
        tokenizer = read_tokenizer(folder, source)
        return cls(source, module, tokenizer, prunable_layers(module), weights_digest(module))

    @property
    def device(self) -> torch.device:
        device = self.module.device
        assert isinstance(device, torch.device)
        return device

    @property
    def vocabulary_size(self) -> int:
        return int(self.module.config.get_text_config(decoder=True).vocab_size)

    @property
    def bytes(self) -> int:
        """Bytes of all parameters and buffers, tied ones counted once."""
        return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(self.module).values())

    def view(self) -> nn.Module:
        """Return a module tree of its own that shares every tensor with this model.

        Replacing a parameter in the tree leaves this model and every other view alone, so threads can run trials
        side by side on one copy of the weights.
        """
        shared = {id(tensor): tensor for tensor in [*self.module.parameters(), *self.module.buffers()]}
        with self._copying:  # deepcopy walks shared Python objects
            tree = copy.deepcopy(self.module, memo=dict(shared))
        assert isinstance(tree, nn.Module)
        return tree

    def unchanged(self) -> bool:
        """Say whether the weights are byte for byte those that were loaded."""
        return weights_digest(self.module) == self.digest


def best_device() -> torch.device:
    """Return the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weights_digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits over names, types, shapes and bytes of every parameter and buffer."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(_tensors(module).items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tokenizer(folder: Path, source: ModelSource) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies beside a model; raises ``SourceError`` where there is none or it is damaged."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizer libraries raise many unrelated types, plain Exception among them
        raise SourceError(f"model {source.source!r}: its tokenizer could not be read: {_first_line(error)}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes an empty one where files are missing
        raise SourceError(f"model {source.source!r}: {folder} holds no tokenizer; add its tokenizer.json")
    return tokenizer


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _read_module(folder: Path, source: ModelSource) -> PreTrainedModel:
    transformers_logging.disable_progress_bar()  # a replica has nobody to show it to
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, source.dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SourceError(f"model {source.source!r} could not be loaded: {_first_line(error)}") from error
    if missing := sorted(loading["missing_keys"]):  # transformers would go on with random numbers in their place
        raise SourceError(f"model {source.source!r} lacks {len(missing)} of its weights, such as {missing[0]}")
    assert isinstance(model, PreTrainedModel)
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
