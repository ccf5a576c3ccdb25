"""How a checkpoint's weights are stored: plain, as FP8 that is dequantised here, or in a form that is refused.

This is found from the small files of a folder, before a weight is read and without the package of a quantiser.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.values import JsonMapping, JsonObject

FP8 = "fp8"
BITMASK = "sparse-24-bitmask"
BITMASK_READERS = "compressed-tensors 0.9.4 to 0.14 and vLLM before 0.19"
"""What reads the layout in which compressed-tensors kept 2:4 weights, and nmlab exported them once."""
# Files of other tools that mark quantised weights where config.json does not.
_QUANTISED = ("quantize_config.json", "quant_config.json", "quantization_config.json", "hf_quant_config.json")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_KEYS = ("quantization_config", "compression_config")


def check_stored(folder: Path, *, name: str) -> None:
    """Raise ``SourceError`` for quantised weights other than FP8, 2:4 bitmasks, and adapters."""
    _check_adapters(folder, name)
    if _is_bitmask(_read(folder / "config.json")):
        raise SourceError(
            f"model {name!r}: its weights are stored as {BITMASK}, which {BITMASK_READERS} read; decompress it with "
            "one of them, or export the trial again as hf"
        )
    method = quantisation(folder)
    if method and method != FP8:
        raise SourceError(
            f"model {name!r}: its weights are quantised ({method}), and a mask needs plain ones; give the checkpoint "
            "before quantisation, or dequantise it first"
        )


def quantisation(folder: Path) -> str:
    """Return how a folder's weights are quantised, such as "gptq" or "fp8"; "" where they are plain."""
    for settings in _quantised_parts(_read(folder / "config.json")):
        return _method(settings)
    for name in _QUANTISED:
        if (folder / name).is_file():
            return _method(_read(folder / name))
    return ""


def stored_note(folder: Path, *, dtype: str) -> str:
    """Return a note on how the weights are stored; "" for plain ones."""
    return f"stored as FP8, dequantised to {dtype}" if quantisation(folder) == FP8 else ""


def _quantised_parts(config: JsonMapping) -> Iterator[JsonMapping]:
    """Yield the quantisation settings of a configuration and of its nested configurations, which may be very deep."""
    left = [config]
    while left:
        for key, value in left.pop().items():
            if not isinstance(value, dict):
                continue
            if key not in _KEYS:
                left.append(value)
            elif value:
                yield value


def _is_bitmask(config: JsonMapping) -> bool:
    sparsities = (part.get("sparsity_config") for part in _quantised_parts(config))
    return any(isinstance(each, dict) and each.get("format") == BITMASK for each in sparsities)


def _method(settings: JsonMapping) -> str:
    """Return the name of a quantiser; "fp8" for block-wise FP8, which nmlab dequantises itself."""
    inner = settings.get("quantization")
    found = (
        settings.get("quant_method")
        or settings.get("quant_algo")
        or (isinstance(inner, dict) and inner.get("quant_algo"))
    )
    if not found:
        bits = [name for name in ("load_in_4bit", "load_in_8bit") if settings.get(name)]
        return "bitsandbytes" if bits else f"{settings['bits']} bits" if "bits" in settings else "unknown method"
    method = str(found).lower()
    plain_fp8 = settings.get("weight_block_size") and settings.get("expert_dtype", "fp8") == "fp8"
    return method if method != FP8 or plain_fp8 else "fp8 without blocks"


def _check_adapters(folder: Path, name: str) -> None:
    found = [file for file in _ADAPTER if (folder / file).is_file()]
    if not found:
        return
    base = _read(folder / _ADAPTER[0]).get("base_model_name_or_path") if (folder / _ADAPTER[0]).is_file() else None
    of = f" for {base}" if base else ""
    if (folder / "config.json").is_file() and _has_own_weights(folder):
        raise SourceError(
            f"model {name!r}: an adapter{of} ({', '.join(found)}) lies beside the full weights, and it is not clear "
            "which is meant; merge it into the weights (merge_and_unload of peft), or move its files away"
        )
    raise SourceError(
        f"model {name!r} is an adapter{of} ({', '.join(found)}), not a model; merge it into its base model first "
        "(merge_and_unload of peft) and give the merged folder"
    )


def _has_own_weights(folder: Path) -> bool:
    return any(file.name not in _ADAPTER for file in folder.glob("*.safetensors"))


def _read(path: Path) -> JsonObject:
    """Return a JSON object, empty where none can be read; loading the model reports that error."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
