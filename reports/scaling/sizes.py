"""The number of groups of a model, from its configuration file alone."""

import json
from collections.abc import Mapping
from pathlib import Path

from nmlab.reports.read.errors import ReportError

# Decoder blocks with query, key, value and output projections and an MLP of three matrices; the others have two.
GATED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo", "olmo2", "starcoder2")
PLAIN = ("opt", "gpt_neox", "gpt2", "phi")
NAMES = {
    "hidden": ("hidden_size", "n_embd"),
    "blocks": ("num_hidden_layers", "n_layer"),
    "heads": ("num_attention_heads", "n_head"),
    "inner": ("intermediate_size", "ffn_dim", "n_inner"),
}


def groups_of_model(folder: Path, *, m: int) -> int:
    """Return the number of groups of M weights in the linear layers of a model's decoder blocks.

    Args:
        folder: a Hugging Face folder; only its ``config.json`` is read.
        m: weights of a group.

    Raises:
        ReportError: no such file, an architecture whose layers are not known here, or sizes that M does not divide.
    """
    path = folder / "config.json" if folder.is_dir() else folder
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReportError(f"the configuration {path} can't be read: {reason}; give the number with --groups") from error
    if not isinstance(config, dict):
        raise ReportError(f"the configuration {path} is not a JSON object; give the number with --groups")
    text = config.get("text_config", config)
    config = text if isinstance(text, dict) else config
    kind = str(config.get("model_type", "unknown"))
    if kind not in (*GATED, *PLAIN):
        raise ReportError(f"{path}: the layers of {kind!r} are not known here; give the number with --groups")
    sizes = {name: _size(config, name, path) for name in NAMES}
    return _groups(config, sizes, m=m, is_gated=kind in GATED and kind != "starcoder2", path=path)


def _groups(config: Mapping[str, object], sizes: Mapping[str, int], *, m: int, is_gated: bool, path: Path) -> int:
    hidden, inner, heads = sizes["hidden"], sizes["inner"], sizes["heads"]
    wide = heads * (_number(config, "head_dim", path) or hidden // heads)
    narrow = wide * (_number(config, "num_key_value_heads", path) or heads) // heads
    odd = [size for size in (hidden, wide, inner) if size % m]
    if odd:
        raise ReportError(f"{path}: groups of {m} do not divide a layer of {odd[0]} inputs")
    attention = hidden * (wide + 2 * narrow) + wide * hidden
    mlp = (3 if is_gated else 2) * hidden * inner
    return sizes["blocks"] * (attention + mlp) // m


def _size(config: Mapping[str, object], name: str, path: Path) -> int:
    for key in NAMES[name]:
        if size := _number(config, key, path):
            return size
    if name == "inner":
        return 4 * _size(config, "hidden", path)
    raise ReportError(f"{path} has no {NAMES[name][0]!r}; give the number with --groups")


def _number(config: Mapping[str, object], key: str, path: Path) -> int:
    """Return a whole number of the configuration; 0 where it has none."""
    value = config.get(key) or 0
    if not isinstance(value, int):
        raise ReportError(f"{path}: {key} is {value!r}; expected a whole number, or give the number with --groups")
    return value
