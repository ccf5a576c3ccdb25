"""Which layers are prunable, on the architectures that people use."""

import pytest
from torch import nn

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models.prunable import check_divisible, decoder_blocks, find_prunable, prunable_layers

LLAMA = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
}  # fmt: skip
OPT = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2"}
NEOX = {"attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}
ARCHITECTURES = {
    "llama": ("model.layers", LLAMA),
    "qwen2": ("model.layers", LLAMA),
    "qwen3": ("model.layers", LLAMA),
    "gemma": ("model.layers", LLAMA),
    "gemma2": ("model.layers", LLAMA),
    "gemma3_text": ("model.layers", LLAMA),
    "opt": ("model.decoder.layers", OPT),
    "gpt_neox": ("gpt_neox.layers", NEOX),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_linear_layer_of_the_blocks_and_no_other(random_model, architecture):
    model = random_model(architecture, num_hidden_layers=3)
    prefix, names = ARCHITECTURES[architecture]
    layers = prunable_layers(model)
    assert {layer.name for layer in layers} == {f"{prefix}.{block}.{name}" for block in range(3) for name in names}
    assert len(layers) == 3 * len(names)
    for layer in layers:
        linear = model.get_submodule(layer.name)
        assert isinstance(linear, nn.Linear)
        assert tuple(linear.weight.shape) == (layer.out_features, layer.in_features)
        assert layer.name.startswith(f"{prefix}.{layer.block}.")
        assert layer.numel == linear.weight.numel()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_head_and_embeddings_are_never_among_them(random_model, architecture):
    model = random_model(architecture)
    kept_dense = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    pruned = {id(model.get_parameter(f"{layer.name}.weight")) for layer in prunable_layers(model)}
    assert not pruned & kept_dense


def test_a_model_of_one_block_is_no_special_case(random_model):
    assert {layer.block for layer in prunable_layers(random_model("llama", num_hidden_layers=1))} == {0}


def test_a_model_without_linear_layers_is_refused(random_model):
    """GPT-2 keeps its weights transposed in Conv1D: without linear layers nothing would be pruned, unnoticed."""
    gpt2 = random_model("gpt2", n_embd=16, n_layer=2, n_head=2, n_positions=32)
    with pytest.raises(SourceError, match=r"GPT2LMHeadModel: expected .* found none; .* Conv1D, .* 100%"):
        prunable_layers(gpt2)


def test_of_two_lists_the_one_that_text_goes_through_is_taken(random_model):
    model = random_model("llama")
    model.model.others = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    assert decoder_blocks(model)[0] == "model.layers"


def test_lists_inside_the_blocks_are_no_candidates(random_model):
    model = random_model("llama")
    model.model.layers[0].mlp.experts = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])
    assert decoder_blocks(model)[0] == "model.layers"
    found = find_prunable(model)
    assert "model.layers.0.mlp.experts.1" not in {layer.name for layer in found.layers}
    assert "mlp.experts.* (10.0%, never used on text)" in found.coverage.sentence()


def test_input_sizes_that_the_group_size_divides_pass(random_model):
    check_divisible(prunable_layers(random_model("llama")), pattern=Pattern(8, 16))


def test_layers_whose_input_size_is_not_divided_are_named(random_model):
    layers = prunable_layers(random_model("llama", intermediate_size=20))
    with pytest.raises(SourceError) as refused:
        check_divisible(layers, pattern=Pattern(4, 8))
    message = str(refused.value)
    assert message.startswith(
        "pattern 4:8: M=8 does not divide the input size of model.layers.0.mlp.down_proj (20 inputs)"
    )
    assert "model.layers.1.mlp.down_proj" in message
    with pytest.raises(SourceError, match="and 11 more"):
        check_divisible(layers, pattern=Pattern(2, 32))
