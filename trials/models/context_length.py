from nmlab.trials.contract.values import JsonMapping
"""The longest sequence that a model reads, from the many names that configurations have for it."""
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
from collections.abc import Iterator, Mapping
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
from torch import nn
from nmlab.trials.contract.values import JsonMapping
from transformers import PreTrainedConfig, PreTrainedModel
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
# Settings that limit the tokens of a sequence; sliding windows are no such limit.
from nmlab.trials.contract.values import JsonMapping
_NAMES = (
from nmlab.trials.contract.values import JsonMapping
    "max_position_embeddings",
from nmlab.trials.contract.values import JsonMapping
    "n_positions",
from nmlab.trials.contract.values import JsonMapping
    "n_ctx",
from nmlab.trials.contract.values import JsonMapping
    "max_seq_len",
from nmlab.trials.contract.values import JsonMapping
    "max_sequence_length",
from nmlab.trials.contract.values import JsonMapping
    "max_seq_length",
from nmlab.trials.contract.values import JsonMapping
    "seq_length",
from nmlab.trials.contract.values import JsonMapping
    "context_length",
from nmlab.trials.contract.values import JsonMapping
    "max_context_length",
from nmlab.trials.contract.values import JsonMapping
    "max_target_positions",
from nmlab.trials.contract.values import JsonMapping
    "max_decoder_position_embeddings",
from nmlab.trials.contract.values import JsonMapping
    "max_text_positions",
from nmlab.trials.contract.values import JsonMapping
    "model_max_length",
from nmlab.trials.contract.values import JsonMapping
)
from nmlab.trials.contract.values import JsonMapping
# Kinds of scaled rotary positions whose configuration may still name the length before scaling.
from nmlab.trials.contract.values import JsonMapping
_STRETCHED = ("linear", "dynamic", "yarn")
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
def longest_context(model: PreTrainedModel) -> int | None:
from nmlab.trials.contract.values import JsonMapping
    """Return the most tokens that a model reads at once, or None where nothing limits them.
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
    The smaller of the configured length (scaled rotary positions taken into account) and the sizes of the tables of
from nmlab.trials.contract.values import JsonMapping
    learned positions. Linear biases of attention (ALiBi) set no limit. The model may be a skeleton without contents.
from nmlab.trials.contract.values import JsonMapping
    """
from nmlab.trials.contract.values import JsonMapping
    config = model.config.get_text_config(decoder=True)
from nmlab.trials.contract.values import JsonMapping
    has_biases = bool(getattr(config, "alibi", False)) or any(hasattr(m, "build_alibi_tensor") for m in model.modules())
from nmlab.trials.contract.values import JsonMapping
    configured = None if has_biases else _configured(config)
from nmlab.trials.contract.values import JsonMapping
    limits = [*([] if configured is None else [configured]), *_tables(model)]
from nmlab.trials.contract.values import JsonMapping
    return min(limits, default=None)
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
def embedding_rows(model: PreTrainedModel) -> int:
from nmlab.trials.contract.values import JsonMapping
    """Return how many token ids a model knows: the rows of its embedding or of its output layer, whichever is fewer.
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
    The model may be a skeleton without contents.
from nmlab.trials.contract.values import JsonMapping
    """
from nmlab.trials.contract.values import JsonMapping
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
from nmlab.trials.contract.values import JsonMapping
    rows = [int(end.weight.shape[0]) for end in ends if isinstance(getattr(end, "weight", None), nn.Parameter)]
from nmlab.trials.contract.values import JsonMapping
    return min(rows, default=int(model.config.get_text_config(decoder=True).vocab_size))
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
def _configured(config: PreTrainedConfig) -> int | None:
from nmlab.trials.contract.values import JsonMapping
    """Return the smallest limit that a configuration names, extended where its rotary positions are scaled."""
from nmlab.trials.contract.values import JsonMapping
    given = (getattr(config, name, None) for name in _NAMES)
from nmlab.trials.contract.values import JsonMapping
    limits = [value for value in given if isinstance(value, int) and not isinstance(value, bool) and value > 0]
from nmlab.trials.contract.values import JsonMapping
    if not limits:
from nmlab.trials.contract.values import JsonMapping
        return None
from nmlab.trials.contract.values import JsonMapping
    return max([min(limits), *(_stretched(min(limits), each) for each in _scalings(config))])
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
def _scalings(config: PreTrainedConfig) -> Iterator[JsonMapping]:
from nmlab.trials.contract.values import JsonMapping
    """Yield the settings of rotary positions: one for all layers, or one for each kind of them."""
from nmlab.trials.contract.values import JsonMapping
    for name in ("rope_parameters", "rope_scaling"):
from nmlab.trials.contract.values import JsonMapping
        found = getattr(config, name, None)
from nmlab.trials.contract.values import JsonMapping
        if isinstance(found, Mapping):
from nmlab.trials.contract.values import JsonMapping
            yield found
from nmlab.trials.contract.values import JsonMapping
            yield from (each for each in found.values() if isinstance(each, Mapping))
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
def _stretched(length: int, scaling: JsonMapping) -> int:
from nmlab.trials.contract.values import JsonMapping
    """Return the length that scaled positions reach; a length that includes the scaling already is returned as is."""
from nmlab.trials.contract.values import JsonMapping
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor")
from nmlab.trials.contract.values import JsonMapping
    original = scaling.get("original_max_position_embeddings") or length
from nmlab.trials.contract.values import JsonMapping
    if kind not in _STRETCHED or not isinstance(factor, int | float) or original > length:
from nmlab.trials.contract.values import JsonMapping
        return length
from nmlab.trials.contract.values import JsonMapping
    return int(original * factor)
from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping

from nmlab.trials.contract.values import JsonMapping
def _tables(model: PreTrainedModel) -> Iterator[int]:
from nmlab.trials.contract.values import JsonMapping
    """Yield how many positions each table of learned positions holds; some skip the first rows."""
from nmlab.trials.contract.values import JsonMapping
    blocks = model.get_decoder() if hasattr(model, "get_decoder") else model
from nmlab.trials.contract.values import JsonMapping
    for name, module in (blocks or model).named_modules():
from nmlab.trials.contract.values import JsonMapping
        own = name.rpartition(".")[2]
from nmlab.trials.contract.values import JsonMapping
        if not isinstance(module, nn.Embedding) or not ("position" in own or own == "wpe"):
from nmlab.trials.contract.values import JsonMapping
            continue
from nmlab.trials.contract.values import JsonMapping
        if "Sinusoidal" in type(module).__name__:
from nmlab.trials.contract.values import JsonMapping
            continue  # computed, and extended where more is needed
from nmlab.trials.contract.values import JsonMapping
        skipped = getattr(module, "offset", None)
from nmlab.trials.contract.values import JsonMapping
        if skipped is None:
from nmlab.trials.contract.values import JsonMapping
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
from nmlab.trials.contract.values import JsonMapping
        yield module.num_embeddings - int(skipped)
