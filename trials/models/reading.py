"""Read a Hugging Face checkpoint's weights into a module."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from nmlab.trials.errors import SourceError
from nmlab.trials.models.sources import DATA_ONLY, ModelSource


def read_module(
    folder: Path, source: ModelSource, *, architecture: Any = AutoModelForCausalLM, **options: Any
) -> PreTrainedModel:
    """Load the weights that ``architecture`` has a place for; those of the asked type stay memory-mapped on the CPU.

    Raises ``SourceError`` where they cannot be read or some are missing.
    """
    transformers_logging.disable_progress_bar()  # a replica has nobody to show it to
    try:
        model, loading = architecture.from_pretrained(
            folder,
            dtype=getattr(torch, source.dtype),
            use_safetensors=True,
            output_loading_info=True,
            **DATA_ONLY,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SourceError(f"model {source.source!r} could not be loaded: {first_line(error)}") from error
    if missing := sorted(loading["missing_keys"]):  # transformers would go on with random numbers in their place
        raise SourceError(f"model {source.source!r} lacks {len(missing)} of its weights, such as {missing[0]}")
    assert isinstance(model, PreTrainedModel)
    return model


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
