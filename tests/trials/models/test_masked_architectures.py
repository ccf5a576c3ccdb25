"""Masks on many architectures, checked against transformers alone: the same masks multiplied into its state dict.

Legend: O outputs, I inputs.
"""

import re

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.prunable import check_measurable, decoder_blocks, find_prunable

TOKENS = torch.randint(500, (2, 24), generator=torch.Generator().manual_seed(3))
SIZES = {
    "vocab_size": 512,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "n_group": 1, "topk_group": 1}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
MAMBA = {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1}
BART = {
    "d_model": 16,
    "decoder_layers": 2,
    "encoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "is_decoder": True,
    "is_encoder_decoder": False,
}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
WHOLE = {
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "bloom": {"n_layer": 2, "n_head": 2},
    "cohere2": {"sliding_window": 8},
    "falcon": {"alibi": True, "multi_query": False},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8},
    "gpt_bigcode": GPT,
    "gptj": {**GPT, "rotary_dim": 4},
    "gpt_neox": {},
    "llama": {"tie_word_embeddings": True},
    "mamba2": {"state_size": 8, "num_heads": 4, "head_dim": 8, "n_groups": 1},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 64},
    "nemotron": {},
    "phi3": {},
    "qwen3": {"head_dim": 8},
    "starcoder2": {"sliding_window": 8},
    "xglm": {"d_model": 16, "ffn_dim": 32, "num_layers": 2, "attention_heads": 2},
}
MIXTURES = {
    "mixtral": EXPERTS,
    "olmoe": EXPERTS,
    "gpt_oss": {**EXPERTS, "head_dim": 8, "sliding_window": 8},
    "granitemoe": EXPERTS,
    "qwen2_moe": {**EXPERTS, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8},
    "deepseek_v3": {**ROUTED, **LATENT, "first_k_dense_replace": 1},
    "jamba": {
        **{"num_hidden_layers": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4},
        **{"expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4},
    },
}


@pytest.fixture(scope="module")
def build():
    """Make a random model of an architecture, its matrices large enough for masks to matter."""

    def make(architecture, changes):
        config = AutoConfig.for_model(architecture, **{**SIZES, **changes})
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(3.0)
        return model

    return make


def _random(layers):
    draw = torch.Generator().manual_seed(1)
    scores = {at.name: torch.rand(at.out_features, at.in_features, generator=draw) for at in layers}
    return {name: topn(score, Pattern(2, 4)) for name, score in scores.items()}


def _by_magnitude(frozen):
    return {
        at.name: topn(frozen.module.get_parameter(f"{at.name}.weight").abs(), Pattern(2, 4)) for at in frozen.layers
    }


def _logits(model):
    return model(input_ids=TOKENS, use_cache=False).logits


def _check_masked(frozen, plain):
    """Compare the masked model with plain transformers under the same masks, of two kinds and held in two ways."""
    dense = _logits(plain)
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    for masks, codes in ((_random(frozen.layers), False), (_by_magnitude(frozen), True)):
        masked = {f"{name}.weight": state[f"{name}.weight"] * mask for name, mask in masks.items()}
        plain.load_state_dict({**state, **masked})
        model, expected = MaskedModel(frozen), _logits(plain)
        if codes:
            model.multiply_on_the_fly(4)
        model.apply_masks(masks)
        assert torch.equal(_logits(model.module), expected)
        assert not torch.equal(expected, dense)
    assert frozen.unchanged()


@pytest.mark.parametrize("architecture", WHOLE)
def test_masks_act_as_in_plain_transformers(build, freeze, architecture):
    frozen = freeze(build(architecture, WHOLE[architecture]))
    assert frozen.coverage.sentence() == "prunes 100% of the decoder blocks' matrix weights"
    _check_masked(frozen, build(architecture, WHOLE[architecture]))


@pytest.mark.parametrize("architecture", MIXTURES)
def test_experts_are_refused_with_their_share_or_left_dense_by_name(build, architecture):
    model = build(architecture, MIXTURES[architecture])
    with pytest.raises(SourceError) as refused:
        find_prunable(model)
    message = str(refused.value)
    found = re.search(r"ForCausalLM: ([\d.]+%) of the decoder blocks' matrix weights would stay dense: ", message)
    assert found
    assert message.endswith("to leave the others dense, set model.leave_dense=[experts]")
    assert "\n" not in message
    left = find_prunable(model, leave_dense=["experts"]).coverage
    assert found[1] == f"{100 * (1 - left.share):.1f}%"
    assert "selects experts or tokens" in left.sentence()


@pytest.mark.parametrize("architecture", ["mixtral", "olmoe", "gpt_oss", "granitemoe"])
def test_the_share_is_that_of_a_plain_count(build, architecture):
    """In these blocks attention alone is made of linear layers; biases and norms are no matrices."""
    model = build(architecture, MIXTURES[architecture])
    sizes = {name: weight.numel() for name, weight in model.model.layers.named_parameters() if weight.dim() >= 2}
    matrices = {name: size for name, size in sizes.items() if not name.endswith("bias")}
    attention = sum(size for name, size in matrices.items() if "self_attn" in name)
    found = find_prunable(model, leave_dense=["experts"]).coverage
    assert (found.pruned, found.total) == (attention, sum(matrices.values()))


@pytest.mark.parametrize("architecture", ["mixtral", "gpt_oss", "deepseek_v3", "qwen2_moe", "jamba"])
def test_beside_experts_that_stay_dense_masks_act_as_in_plain_transformers(build, freeze, architecture):
    changes = MIXTURES[architecture]
    frozen = freeze(build(architecture, changes), leave_dense=("experts",))
    names = {layer.name for layer in frozen.layers}
    assert any("proj" in name for name in names)
    assert not any(re.search(r"router|\.gate$|shared_expert_gate|\.experts\b", name) for name in names)
    _check_masked(frozen, build(architecture, changes))


def test_an_mlps_gate_proj_is_pruned_and_the_gate_of_experts_is_not(build):
    model = build("qwen2_moe", MIXTURES["qwen2_moe"])
    names = {layer.name for layer in find_prunable(model, leave_dense=["experts"]).layers}
    assert "model.layers.0.mlp.shared_expert.gate_proj" in names
    assert not names & {"model.layers.0.mlp.gate", "model.layers.0.mlp.shared_expert_gate"}


def test_cross_attention_that_no_text_reaches_is_left_out_and_said(build, freeze):
    frozen = freeze(build("bart", BART))
    assert not any("encoder_attn" in layer.name for layer in frozen.layers)
    assert "encoder_attn.q_proj (8.3%, never used on text)" in frozen.coverage.sentence()
    check_measurable(frozen.layers)
    _check_masked(frozen, build("bart", BART))


def test_a_projection_that_is_used_without_a_call_is_masked_too_but_not_measured(build, freeze):
    sizes = {"state_size": 8, "time_step_rank": 4}
    frozen = freeze(build("mamba", sizes))
    _check_masked(frozen, build("mamba", sizes))
    with pytest.raises(SourceError, match=r"dt_proj: the model takes its weight without .*leave_dense=\[dt_proj\]"):
        check_measurable(frozen.layers)
    check_measurable(find_prunable(build("mamba", sizes), leave_dense=["dt_proj"]).layers)


@pytest.mark.parametrize("architecture", ["gpt2", "openai-gpt"])
def test_conv1d_is_refused_by_its_name(build, architecture):
    with pytest.raises(SourceError, match=r"nn\.Linear.* Conv1D, .* 100% of the decoder blocks"):
        find_prunable(build(architecture, GPT))


def test_names_that_fit_nothing_are_refused_with_the_nearest(build):
    model = build("mixtral", MIXTURES["mixtral"])
    for wrong, nearest in (("expert", "experts"), ("q_prj", "q_proj"), ("experts.up_proj", None)):
        with pytest.raises(SourceError, match=rf"model\.leave_dense: unknown weight '{re.escape(wrong)}'") as refused:
            find_prunable(model, leave_dense=["experts", wrong])
        assert nearest is None or f"did you mean '{nearest}'" in str(refused.value)


def test_patterns_and_parts_of_names_leave_layers_dense(build):
    model = build("llama", {})
    every = {layer.name for layer in find_prunable(model).layers}

    def left(*names):
        return every - {layer.name for layer in find_prunable(model, leave_dense=names).layers}

    assert left("model.layers.0") == {name for name in every if name.startswith("model.layers.0.")}
    assert left("q_proj") == left("self_attn.q_proj") == left("self_attn.q_*") == left("*.q_proj.weight")
    assert len(left("q_proj")) == 2
    assert len(left("q_proj", "layers.1.mlp")) == 5
    with pytest.raises(SourceError, match="LlamaForCausalLM: nothing is left to prune"):
        left("layers")


def test_of_two_lists_of_equal_depth_the_language_models_is_taken(build):
    """GIT looks at pictures with as many blocks as it reads text with."""
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = build("git", {"vision_config": {**vision, "image_size": 16, "patch_size": 8}})
    assert decoder_blocks(model)[0] == "git.encoder.layer"
    found = find_prunable(model)
    assert all(layer.name.startswith("git.encoder.layer.") for layer in found.layers)
    assert found.coverage.share == 1
