"""Llama-shaped models of random weights for the benchmarks, frozen in memory, with the shipped model's tokenizer."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.models.frozen import read_tokenizer, weights_digest
from nmlab.trials.models.prunable import prunable_layers
from nmlab.trials.models.sources import locate

# Millions of prunable weights -> (hidden size, intermediate size, decoder blocks, attention heads). All sizes are
# multiples of 32, so every pattern fits.
SHAPES = {5: (256, 704, 6, 4), 25: (512, 1408, 8, 8), 100: (768, 2048, 14, 12)}


def random_llama(millions: int, *, dtype: str = "float32", vocabulary: int = 4096) -> FrozenModel:
    """Return a frozen model of about ``millions`` prunable weights, always the same for the same arguments."""
    hidden, intermediate, blocks, heads = SHAPES[millions]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        max_position_embeddings=4096,
    )
    torch.manual_seed(0)
    module = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval().requires_grad_(False)
    tiny = ModelSource(source="builtin:tiny")
    tokenizer = read_tokenizer(locate(tiny), tiny)
    source = ModelSource(source=f"random:{millions}M", dtype=dtype)
    return FrozenModel(source, module, tokenizer, prunable_layers(module), weights_digest(module))


def prunable_weights(frozen: FrozenModel) -> int:
    return sum(layer.numel for layer in frozen.layers)
