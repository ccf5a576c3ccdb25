"""Read a Hugging Face checkpoint's weights into a module."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.models.fp8 import dequantised
from nmlab.trials.models.quiet import quiet
from nmlab.trials.models.sources import DATA_ONLY
from nmlab.trials.models.stored import FP8, quantisation

_QUANTISED = "quantization_config"


def read_module(
    folder: Path, source: ModelSource, *, architecture: Any = AutoModelForCausalLM, **options: Any
) -> PreTrainedModel:
    """Load a checkpoint's weights into an ``architecture``; those stored in the asked type stay memory-mapped.

    Raises ``SourceError`` where they cannot be read or some are missing.
    """
    transformers_logging.disable_progress_bar()  # a replica has no terminal
    dtype = getattr(torch, source.dtype)
    try:
        place = {"pretrained_model_name_or_path": folder, **options}
        if quantisation(folder) == FP8:
            place = _made_plain(folder, dtype=dtype, **options)
            architecture = _class_of(place["config"]) if architecture is AutoModelForCausalLM else architecture
        with quiet():  # missing weights are reported below
            model, loading = architecture.from_pretrained(
                **place, dtype=dtype, use_safetensors=True, output_loading_info=True, **DATA_ONLY
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SourceError(f"model {source.source!r} could not be loaded: {first_line(error)}") from error
    if missing := sorted(loading["missing_keys"]):  # transformers would go on with random numbers in their place
        raise SourceError(f"model {source.source!r} lacks {len(missing)} of its weights, such as {missing[0]}")
    assert isinstance(model, PreTrainedModel)
    return model


def read_config(folder: Path) -> PreTrainedConfig:
    """Return a checkpoint's configuration, as of a model with plain weights; raises what transformers raises."""
    config = AutoConfig.from_pretrained(folder, **DATA_ONLY)
    for part in (config, config.get_text_config(decoder=True)):
        if hasattr(part, _QUANTISED):
            delattr(part, _QUANTISED)
    assert isinstance(config, PreTrainedConfig)
    return config


def read_skeleton(folder: Path, source: ModelSource, *, verb: str = "read") -> PreTrainedModel:
    """Return a checkpoint's model without contents; raises ``SourceError`` where it cannot be read."""
    try:
        config = read_config(folder)
        with quiet(), torch.device("meta"):
            dtype = getattr(torch, source.dtype)
            skeleton = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise SourceError(f"model {source.source!r} could not be {verb}: {first_line(error)}") from error
    assert isinstance(skeleton, PreTrainedModel)
    return skeleton


def _made_plain(folder: Path, *, dtype: torch.dtype, **options: Any) -> dict[str, Any]:
    """Return the loader's arguments for a checkpoint in FP8: its configuration and dequantised tensors."""
    stored = AutoConfig.from_pretrained(folder, **DATA_ONLY)
    rows, columns = getattr(stored, _QUANTISED)["weight_block_size"]
    tensors = dequantised(folder, block=(int(rows), int(columns)), dtype=dtype)
    config = options.pop("config", None) or read_config(folder)
    return {"pretrained_model_name_or_path": None, "config": config, "state_dict": tensors, **options}


def _class_of(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the class of a model; ``AutoModelForCausalLM`` takes no tensors without a folder."""
    with torch.device("meta"):
        return type(AutoModelForCausalLM.from_config(config, trust_remote_code=False))


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
