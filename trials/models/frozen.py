"""The frozen model: a language model that is loaded once, shared by many trials, and never written to."""

import copy
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.measure.memory import PeakMeter, can_measure_peaks
from nmlab.trials.models.coverage import Coverage
from nmlab.trials.models.prunable import PrunableLayer, find_prunable
from nmlab.trials.models.reading import first_line, read_module, read_skeleton
from nmlab.trials.models.sources import DATA_ONLY, locate
from nmlab.trials.models.stage import Stage, read_stage
from nmlab.trials.models.stored import stored_note
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup


@dataclass(eq=False)
class FrozenModel:
    """A model whose weights are held once in this process; trials apply their masks to views of it (``view``).

    On the CPU the weights stay in the checkpoint's memory-mapped pages, which several processes of one machine share.
    A worker of a pipeline group holds one stage of the model: ``layers`` are then those of its own blocks, and
    ``digest`` is that of the whole model.
    """

    source: ModelSource
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    layers: tuple[PrunableLayer, ...]
    digest: str
    stage: Stage | None = None
    held_digest: str = ""
    """The digest of the tensors held here; for a stage it differs from the digest of the whole model."""
    load_peak_bytes: int | None = None
    """The peak memory of this process on the device while it loaded, where it can be measured."""
    covered: Coverage | None = None
    """How much of the decoder blocks of the whole model a mask covers; None computes it from the module."""
    stored: str = ""
    """A note on how the weights are stored, "" for plain weights."""
    _copying: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.held_digest = self.held_digest or self.digest

    @classmethod
    def load(
        cls, source: ModelSource, *, device: torch.device | str = "cpu", pipeline: PipelineGroup = SINGLE_PROCESS
    ) -> "FrozenModel":
        """Load a model for inference, or the stage of this rank of a pipeline group.

        Raises ``SourceError`` when the model cannot be reached or read, and ``ValueError`` for a pipeline group with
        more ranks than the model has decoder blocks.
        """
        folder, stage = locate(source), None
        meter = PeakMeter(torch.device(device)) if can_measure_peaks(torch.device(device)) else None
        if pipeline.size == 1:
            found = find_prunable(read_skeleton(folder, source, verb="loaded"), leave_dense=source.leave_dense)
            module = read_module(folder, source)
        else:
            module, stage = read_stage(folder, source, index=pipeline.rank, count=pipeline.size)
            found = stage.prunable
        module = module.to(device).eval().requires_grad_(False)
        check_finite(module, source)
        held = tensor_digests(module)
        digests = {name: digest for of_stage in pipeline.all_gather(held) for name, digest in of_stage.items()}
        layers, tokenizer = _own(found.layers, stage), read_tokenizer(folder, source)
        peak = None if meter is None else meter.peak()
        digest, own = _digest_of(digests), _digest_of(held)
        stored = stored_note(folder, dtype=source.dtype)
        return cls(source, module, tokenizer, layers, digest, stage, own, peak, found.coverage, stored)

    @property
    def coverage(self) -> Coverage:
        """How much of the decoder blocks of the whole model a mask covers, and what stays dense."""
        return self.covered or find_prunable(self.module, leave_dense=self.source.leave_dense).coverage

    @property
    def all_layers(self) -> tuple[PrunableLayer, ...]:
        """The prunable layers of the whole model, those of other stages included."""
        return self.layers if self.stage is None else self.stage.layers

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
        """Bytes of all parameters and buffers held here, tied ones counted once."""
        return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(self.module).values())

    def view(self) -> nn.Module:
        """Return a new module tree that shares every tensor with this model.

        Replacing a parameter in the tree changes neither this model nor any other view, so several threads can run
        trials on one copy of the weights.
        """
        shared = {id(tensor): tensor for tensor in [*self.module.parameters(), *self.module.buffers()]}
        with self._copying:  # deepcopy walks shared Python objects
            tree = copy.deepcopy(self.module, memo=dict(shared))
        assert isinstance(tree, nn.Module)
        return tree

    def unchanged(self) -> bool:
        """Return whether the weights held here are byte for byte those that were loaded."""
        return weights_digest(self.module) == self.held_digest


def _own(layers: tuple[PrunableLayer, ...], stage: Stage | None) -> tuple[PrunableLayer, ...]:
    return layers if stage is None else tuple(layer for layer in layers if layer.block in stage.blocks)


def check_finite(module: nn.Module, source: ModelSource) -> None:
    """Raise ``SourceError`` for the first weight with NaN or infinite values."""
    for name, weight in module.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            count = int((~torch.isfinite(weight)).sum())
            raise SourceError(
                f"model {source.source!r}: {count} of the {weight.numel()} values of {name} are NaN or infinite in "
                f"{source.dtype}; give a sound checkpoint, or another dtype"
            )


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weights_digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits over names, types, shapes and bytes of every parameter and buffer."""
    return _digest_of(tensor_digests(module))


def tensor_digests(module: nn.Module) -> dict[str, str]:
    """Return 16 hexadecimal digits over type, shape and bytes of every parameter and buffer, by name."""
    return {name: _tensor_digest(tensor) for name, tensor in _tensors(module).items()}


def _tensor_digest(tensor: Tensor) -> str:
    digest = hashlib.blake2b(f"{tensor.dtype}|{tuple(tensor.shape)}".encode(), digest_size=8)
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digest_of(digests: Mapping[str, str]) -> str:
    """Combine the digests of tensors into one, so that pipeline stages need to exchange digests only."""
    text = "".join(f"{name}|{digest}|" for name, digest in sorted(digests.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_tokenizer(folder: Path, source: ModelSource) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies beside a model; raises ``SourceError`` where there is none or it is damaged."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **DATA_ONLY)
    except Exception as error:  # the tokenizer libraries raise many unrelated types, plain Exception among them
        raise SourceError(f"model {source.source!r}: its tokenizer could not be read: {first_line(error)}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes an empty one where files are missing
        raise SourceError(f"model {source.source!r}: {folder} holds no tokenizer; add its tokenizer.json")
    return tokenizer


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
