"""SparseGPT against golden files made by the authors' code: one layer, blocks of columns, and through two blocks."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.inputs.statistics import SecondMoment
from nmlab.trials.methods import registry, sparsegpt
from nmlab.trials.models import PrunableLayer

PATTERNS = {"2of4": Pattern(2, 4), "4of8": Pattern(4, 8), "2of8": Pattern(2, 8), "1of4": Pattern(1, 4)}
BLOCKS = {
    "2of4_bs128": (Pattern(2, 4), 128),
    "2of4_bs32": (Pattern(2, 4), 32),
    "2of8_bs64": (Pattern(2, 8), 64),
    "4of8_bs128": (Pattern(4, 8), 128),
    "8of16_bs64": (Pattern(8, 16), 64),
}
FC = "model.layers.0.fc"
NEAR = {"rtol": 0, "atol": 1e-5}


@pytest.mark.parametrize("name", PATTERNS)
def test_one_layer(load_parity, name):
    golden = load_parity(f"sparsegpt/unit_{name}_seed0")
    mask, weight = sparsegpt.prune(golden[f"w0/{FC}"], golden[f"H/{FC}"], PATTERNS[name])
    assert torch.equal(mask, golden[f"mask/{FC}"].bool())
    torch.testing.assert_close(weight, golden[f"w1/{FC}"], **NEAR)


def test_the_hessian_of_one_layer(load_parity):
    golden = load_parity("sparsegpt/unit_2of4_seed0")
    inputs_BTI = golden["embed"][golden["ids"]]
    moment = SecondMoment(PrunableLayer(FC, 0, 20, 24), device=torch.device("cpu"))
    for batch_BTI in torch.split(inputs_BTI, 2):
        moment.update(batch_BTI)
    torch.testing.assert_close(moment.hessian_II, golden[f"H/{FC}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BLOCKS)
def test_several_blocks_of_columns_and_a_dead_one(load_parity, name):
    golden, (pattern, block_size) = load_parity(f"sparsegpt/block_{name}_seed0"), BLOCKS[name]
    assert golden["H"].diagonal()[5] == 0
    mask, weight = sparsegpt.prune(golden["W0"], golden["H"], pattern, damping=0.01, block_size=block_size)
    assert torch.equal(mask, golden["mask"].bool())
    torch.testing.assert_close(weight, golden["W1"], **NEAR)
    torch.testing.assert_close(weight, golden["W1_llmcompressor"], **NEAR)


@pytest.mark.parametrize("method", ["sparsegpt", "sparsegpt_mask"])
@pytest.mark.parametrize("name", ["2of4", "4of8"])
def test_two_blocks(load_parity, golden_context, name, method):
    """The second block is measured behind the updated weights of the first, in both methods."""
    golden = load_parity(f"sparsegpt/e2e_{name}_seed0")
    context = golden_context(golden, PATTERNS[name])
    run = registry.get(method).start(context, registry.get(method).configure({}))
    assert len(run.masks()) == 14
    for layer, mask in run.masks().items():
        assert torch.equal(mask, golden[f"mask/{layer}"].bool())
    if method == "sparsegpt_mask":
        assert run.weights() is None
    else:
        for layer, weight in run.weights().items():
            torch.testing.assert_close(weight, golden[f"w1/{layer}"], **NEAR)
    assert context.notes == []
    assert context.replica.frozen.unchanged()
