"""Block-by-block pruning against a slow computation that runs the whole model again for every block."""

import copy

import pytest
import torch

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.inputs.calibration import prune_blocks, visit_blocks
from nmlab.trials.inputs.statistics import SquareMean
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods import registry
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.prunable import decoder_blocks

ARCHITECTURES = {
    "llama": {"num_hidden_layers": 3},
    "qwen2": {},
    "qwen3": {"num_hidden_layers": 3},
    "gemma": {},
    "gemma2": {"num_hidden_layers": 3},
    "gemma3_text": {"num_hidden_layers": 3},
    "opt": {"num_hidden_layers": 3},
    "gpt_neox": {},
}


@pytest.fixture(scope="module")
def batches():
    """Three minibatches of unequal sizes; twelve tokens are three sliding windows of the Gemmas."""
    tokens = torch.randint(1, 500, (5, 12), generator=torch.Generator().manual_seed(0))
    return list(torch.split(tokens, 2))


def _square_means_by_hand(module, layers, batches):
    """a_j of the inputs of some layers in whole forwards of a model as it stands, one sequence at a time, float64."""
    sums = {layer.name: torch.zeros(layer.in_features, dtype=torch.float64) for layer in layers}

    def hook_for(name):
        def add(_, args):
            sums[name] += args[0].reshape(-1, args[0].shape[-1]).double().square().sum(0)

        return add

    handles = [module.get_submodule(name).register_forward_pre_hook(hook_for(name)) for name in sums]
    for sequence in torch.cat(batches):
        module(input_ids=sequence[None])
    for handle in handles:
        handle.remove()
    return {name: total / len(torch.cat(batches)) for name, total in sums.items()}


def _keep_half(weight, square_mean):
    """A 2:4 mask of |W| sqrt(a), group by group by sorting."""
    scores = (weight.double().abs() * square_mean.double().sqrt()).reshape(-1, 4)
    return scores.argsort(dim=1).argsort(dim=1).ge(2).view(weight.shape)


def _prune_by_hand(module, layers, batches):
    module, means, masks = copy.deepcopy(module), {}, {}
    for block in sorted({layer.block for layer in layers}):
        here = [layer for layer in layers if layer.block == block]
        means |= _square_means_by_hand(module, here, batches)
        for layer in here:
            weight = module.get_parameter(f"{layer.name}.weight")
            masks[layer.name] = _keep_half(weight, means[layer.name])
            weight.data.mul_(masks[layer.name])
    return means, masks


def _prune(model, batches, *, cost=None):
    means = {}

    def mask_of(layer, statistic):
        means[layer.name] = statistic.mean_I.clone()
        return _keep_half(model.frozen.module.get_parameter(f"{layer.name}.weight"), statistic.mean_I)

    masks = prune_blocks(
        model,
        batches,
        statistic=lambda layer: SquareMean(layer, device=torch.device("cpu")),
        mask_of=mask_of,
        cost=cost or Cost(),
    )
    return means, masks


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_statistics_see_pruned_predecessors_and_a_dense_block(random_model, freeze, batches, architecture):
    frozen = freeze(random_model(architecture, **ARCHITECTURES[architecture]))
    means, masks = _prune(MaskedModel(frozen), batches)
    expected_means, expected_masks = _prune_by_hand(frozen.module, frozen.layers, batches)
    assert masks.keys() == expected_masks.keys() == {layer.name for layer in frozen.layers}
    for name in masks:
        torch.testing.assert_close(means[name].double(), expected_means[name], rtol=2e-5, atol=1e-9)
        assert torch.equal(masks[name], expected_masks[name])
    assert frozen.unchanged()


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "opt"])
def test_the_comparison_distinguishes_dense_predecessors_from_pruned_ones(random_model, freeze, batches, architecture):
    frozen = freeze(random_model(architecture, **ARCHITECTURES[architecture]))
    means, _ = _prune(MaskedModel(frozen), batches)
    dense = _square_means_by_hand(frozen.module, frozen.layers, batches)
    apart = {name: float((means[name] / dense[name] - 1).abs().max()) for name in means}
    assert all(apart[layer.name] < 2e-5 for layer in frozen.layers if layer.block == 0)
    assert all(apart[layer.name] > 1e-2 for layer in frozen.layers if layer.block > 0)


def test_masks_applied_before_do_not_matter(random_model, freeze, batches):
    frozen = freeze(random_model("llama"))
    model = MaskedModel(frozen)
    model.apply_masks({layer.name: torch.zeros(layer.out_features, layer.in_features) > 0 for layer in frozen.layers})
    masked, fresh = _prune(model, batches), _prune(MaskedModel(frozen), batches)
    assert all(torch.equal(masked[1][name], fresh[1][name]) for name in fresh[1])


def test_the_returned_masks_are_applied_to_the_model(random_model, freeze, batches):
    frozen = freeze(random_model("llama"))
    model, masked = MaskedModel(frozen), MaskedModel(frozen)
    masked.apply_masks(_prune(model, batches)[1])
    assert torch.equal(model.token_losses(batches[0]), masked.token_losses(batches[0]))


def test_no_hook_is_left_behind(random_model, freeze, batches):
    model = MaskedModel(freeze(random_model("llama")))
    _prune(model, batches)
    assert not any(module._forward_pre_hooks for module in model.module.modules())

    def fail(layer, statistic):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        prune_blocks(
            model,
            batches,
            statistic=lambda layer: SquareMean(layer, device=torch.device("cpu")),
            mask_of=fail,
            cost=Cost(),
        )
    assert not any(module._forward_pre_hooks for module in model.module.modules())


def test_two_passes_over_the_calibration_text_and_one_sequence_are_counted(random_model, freeze, batches):
    """One sequence shows the form of the blocks' outputs; then each block runs dense, and all but the last pruned."""
    model, cost, calls = MaskedModel(freeze(random_model("llama"))), Cost(), []
    _, blocks = decoder_blocks(model.module)
    for index, block in enumerate(blocks):
        block.mlp.down_proj.register_forward_hook(lambda *_, index=index: calls.append(index))
    _prune(model, batches, cost=cost)
    assert [calls.count(index) for index in range(len(blocks))] == [1 + 2 * len(batches), 1 + len(batches)]
    assert cost.forwards == 1 + 2 * len(batches)
    assert cost.tokens == batches[0].shape[1] + 2 * torch.cat(batches).numel()
    assert not any("forward" in vars(block) for block in blocks)


def test_layers_with_the_very_same_inputs_share_one_statistic(random_model, freeze, batches):
    made, seen = [], {}

    def statistic(layer):
        made.append(layer.name)
        return SquareMean(layer, device=torch.device("cpu"))

    model = MaskedModel(freeze(random_model("llama")))
    visit_blocks(
        model, batches, statistic=statistic, apply=lambda layer, it: seen.update({layer.name: it}), cost=Cost()
    )
    assert [name.rpartition(".")[2] for name in made] == 2 * ["q_proj", "o_proj", "gate_proj", "down_proj"]
    for block in ("model.layers.0", "model.layers.1"):
        assert seen[f"{block}.self_attn.q_proj"] is seen[f"{block}.self_attn.v_proj"]
        assert seen[f"{block}.self_attn.q_proj"] is not seen[f"{block}.mlp.gate_proj"]
        assert seen[f"{block}.mlp.gate_proj"] is seen[f"{block}.mlp.up_proj"]


def test_a_layer_that_no_text_reaches_is_named(random_model, freeze, batches):
    model = MaskedModel(freeze(random_model("llama")))
    mlp = model.module.get_submodule("model.layers.1.mlp")
    mlp.forward = torch.zeros_like
    with pytest.raises(
        SourceError, match=r"^model\.layers\.1\.mlp\.gate_proj: the forward of its block calls it on none"
    ):
        _prune(model, batches)


def test_the_square_mean_counts_sequences_and_not_tokens(random_model, freeze):
    layer = freeze(random_model("llama")).layers[0]
    statistic = SquareMean(layer, device=torch.device("cpu"))
    inputs_BTI = torch.randn(3, 5, layer.in_features, generator=torch.Generator().manual_seed(0))
    statistic.update(inputs_BTI[:2])
    statistic.update(inputs_BTI[2:])
    torch.testing.assert_close(statistic.mean_I, inputs_BTI.square().sum((0, 1)) / 3)


def test_wanda_is_block_by_block_pruning_with_its_own_score(make_context):
    context = make_context()
    frozen = context.replica.frozen
    masks = registry.get("wanda").start(context, registry.get("wanda").configure({})).masks()
    _, expected = _prune_by_hand(frozen.module, frozen.layers, context.batches)
    assert masks.keys() == expected.keys()
    assert all(torch.equal(masks[name], expected[name]) for name in masks)
