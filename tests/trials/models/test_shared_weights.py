"""Two names for one weight: one mask, counted once, the same gradients as plain torch, or a refusal by name.

Legend: O outputs, I inputs.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.prunable import check_measurable, find_prunable

TOKENS = torch.randint(512, (2, 12), generator=torch.Generator().manual_seed(0))
K, V = "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj"
UP = "mlp.up_proj"


@pytest.fixture
def tied(random_model, freeze):
    """Return a Llama whose first keys and values have one weight, and whose blocks share one MLP."""
    module = random_model("llama")
    first, second = module.model.layers
    first.self_attn.v_proj.weight = first.self_attn.k_proj.weight
    second.mlp = first.mlp
    return freeze(module)


def _masks(frozen):
    """Random masks, 2 of every 4."""
    draw = torch.Generator().manual_seed(1)
    scores = {at.name: torch.rand(at.out_features, at.in_features, generator=draw) for at in frozen.layers}
    return {name: topn(score, Pattern(2, 4)) for name, score in scores.items()}


def _plainly(frozen, masks):
    """Return the same model by torch alone: masks multiplied into the shared tensors."""
    module = copy.deepcopy(frozen.module)
    with torch.no_grad():
        for name, mask in masks.items():
            module.get_parameter(f"{name}.weight").mul_(mask)
    return module


def test_a_shared_weight_is_one_layer_and_counts_once(tied):
    names = [layer.name for layer in tied.layers]
    assert len(names) == 14 - 1 - 3
    assert V not in names
    assert not any(name.startswith("model.layers.1.mlp") for name in names)
    aliases = {layer.name: layer.aliases for layer in tied.layers if layer.aliases}
    assert aliases[K] == (V,)
    assert aliases[f"model.layers.0.{UP}"] == (f"model.layers.1.{UP}",)
    blocks = {id(p): p.numel() for p in tied.module.model.layers.parameters() if p.dim() == 2}
    assert sum(layer.numel for layer in tied.layers) == tied.coverage.total == sum(blocks.values())


@pytest.mark.parametrize("codes", [False, True])
def test_one_mask_holds_for_all_names(tied, codes):
    model, masks = MaskedModel(tied), _masks(tied)
    if codes:
        model.multiply_on_the_fly(4)
    model.apply_masks(masks)
    found = model.module(input_ids=TOKENS, use_cache=False).logits
    assert torch.equal(found, _plainly(tied, masks)(input_ids=TOKENS, use_cache=False).logits)
    model.remove_masks()
    assert torch.equal(
        model.module(input_ids=TOKENS, use_cache=False).logits, tied.module(input_ids=TOKENS, use_cache=False).logits
    )
    assert tied.unchanged()


def test_the_gradient_is_the_sum_over_all_uses(tied):
    masks = _masks(tied)
    soft = {name: mask.float().requires_grad_() for name, mask in masks.items()}
    model = MaskedModel(tied)
    loss = model.loss_under(model.masked_weights(soft), TOKENS)
    loss.backward()
    plain = _plainly(tied, masks).requires_grad_()
    logits = plain(input_ids=TOKENS, use_cache=False).logits[:, :-1].flatten(0, 1)
    F.cross_entropy(logits, TOKENS[:, 1:].flatten()).backward()
    for name in (K, f"model.layers.0.{UP}", "model.layers.1.self_attn.q_proj"):
        expected = plain.get_parameter(f"{name}.weight").grad * tied.module.get_parameter(f"{name}.weight")
        torch.testing.assert_close(soft[name].grad, expected)


def test_methods_that_measure_inputs_refuse_it_by_name(tied):
    with pytest.raises(SourceError, match=r"self_attn\.k_proj and .*self_attn\.v_proj are one weight.*leave_dense"):
        check_measurable(tied.layers)


def test_a_weight_that_is_used_outside_the_blocks_too_is_refused_by_name(random_model):
    module = random_model("llama", intermediate_size=512)
    module.lm_head.weight = module.model.layers[0].mlp.up_proj.weight
    with pytest.raises(SourceError, match=r"mlp\.up_proj \(.*shared with lm_head\.weight\)"):
        find_prunable(module)
    left = find_prunable(module, leave_dense=["model.layers.0.mlp.up_proj"])
    assert "model.layers.0.mlp.up_proj" not in {layer.name for layer in left.layers}
    assert "model.layers.1.mlp.up_proj" in {layer.name for layer in left.layers}


def test_a_shared_block_of_an_architecture_is_one_too(random_model):
    """Zamba 2 runs one attention block at several depths."""
    layers = {"layer_types": ["mamba", "hybrid", "mamba", "hybrid"], "hybrid_layer_ids": [1, 3]}
    config = {"num_hidden_layers": 4, **layers, "num_mem_blocks": 1}
    sizes = {"mamba_d_state": 8, "n_mamba_heads": 4, "mamba_headdim": 8, "mamba_ngroups": 1, "chunk_size": 16}
    module = random_model("zamba2", **config, **sizes, num_key_value_heads=2)
    module(input_ids=TOKENS, use_cache=False)
    parameters = {id(p) for p in module.parameters()}
    found = find_prunable(module)
    layers = found.layers
    assert found.coverage.problem == ""
    assert len({id(module.get_parameter(f"{layer.name}.weight")) for layer in layers} & parameters) == len(layers)
    assert any(layer.aliases for layer in layers)
