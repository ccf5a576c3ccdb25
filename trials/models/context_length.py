"""The longest sequence that a model reads, from the many names that configurations have for it."""

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from nmlab.trials.contract.values import JsonMapping

# Settings that limit the tokens of a sequence; sliding windows are no such limit.
_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "seq_length",
    "context_length",
    "max_context_length",
    "max_target_positions",
    "max_decoder_position_embeddings",
    "max_text_positions",
    "model_max_length",
)
# Kinds of scaled rotary positions whose configuration may still name the length before scaling.
_STRETCHED = ("linear", "dynamic", "yarn")


def longest_context(model: PreTrainedModel) -> int | None:
    """Return the most tokens that a model reads at once, or None where nothing limits them.

    The smaller of the configured length (scaled rotary positions taken into account) and the sizes of the tables of
    learned positions. Linear biases of attention (ALiBi) set no limit. The model may be a skeleton without contents.
    """
    config = model.config.get_text_config(decoder=True)
    has_biases = bool(getattr(config, "alibi", False)) or any(hasattr(m, "build_alibi_tensor") for m in model.modules())
    configured = None if has_biases else _configured(config)
    limits = [*([] if configured is None else [configured]), *_tables(model)]
    return min(limits, default=None)


def embedding_rows(model: PreTrainedModel) -> int:
    """Return how many token ids a model knows: the rows of its embedding or of its output layer, whichever is fewer.

    The model may be a skeleton without contents.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    rows = [int(end.weight.shape[0]) for end in ends if isinstance(getattr(end, "weight", None), nn.Parameter)]
    return min(rows, default=int(model.config.get_text_config(decoder=True).vocab_size))


def _configured(config: PreTrainedConfig) -> int | None:
    """Return the smallest limit that a configuration names, extended where its rotary positions are scaled."""
    given = (getattr(config, name, None) for name in _NAMES)
    limits = [value for value in given if isinstance(value, int) and not isinstance(value, bool) and value > 0]
    if not limits:
        return None
    return max([min(limits), *(_stretched(min(limits), each) for each in _scalings(config))])


def _scalings(config: PreTrainedConfig) -> Iterator[JsonMapping]:
    """Yield the settings of rotary positions: one for all layers, or one for each kind of them."""
    for name in ("rope_parameters", "rope_scaling"):
        found = getattr(config, name, None)
        if isinstance(found, Mapping):
            yield found
            yield from (each for each in found.values() if isinstance(each, Mapping))


def _stretched(length: int, scaling: JsonMapping) -> int:
    """Return the length that scaled positions reach; a length that includes the scaling already is returned as is."""
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor")
    original = scaling.get("original_max_position_embeddings") or length
    if kind not in _STRETCHED or not isinstance(factor, int | float) or original > length:
        return length
    return int(original * factor)


def _tables(model: PreTrainedModel) -> Iterator[int]:
    """Yield how many positions each table of learned positions holds; some skip the first rows."""
    blocks = model.get_decoder() if hasattr(model, "get_decoder") else model
    for name, module in (blocks or model).named_modules():
        own = name.rpartition(".")[2]
        if not isinstance(module, nn.Embedding) or not ("position" in own or own == "wpe"):
            continue
        if "Sinusoidal" in type(module).__name__:
            continue  # computed, and extended where more is needed
        skipped = getattr(module, "offset", None)
        if skipped is None:
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
        yield module.num_embeddings - int(skipped)
