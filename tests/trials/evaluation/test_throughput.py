"""FLOPs counted by hand, and the shape of the speed table."""

import pytest
import torch

from nmlab.trials.evaluation.throughput import Workload, flops, speeds
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import MaskedModel
from nmlab.trials.pattern import Pattern


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:4"])
@pytest.mark.parametrize("tokens", [1, 8])
def test_operations_are_two_a_weight_and_token(random_model, freeze, pattern, tokens):
    frozen = freeze(random_model("llama"))
    counted = flops(frozen, pattern=Pattern.parse(pattern), tokens=tokens)
    prunable = sum(layer.numel for layer in frozen.layers)
    config = frozen.module.config
    head = config.hidden_size * config.vocab_size
    attention = 2 * 2 * tokens * tokens * config.hidden_size * config.num_hidden_layers
    assert counted.prunable == 2 * tokens * prunable
    assert counted.dense == pytest.approx(2 * tokens * (prunable + head) + attention, rel=0.02)
    assert counted.dense - counted.with_pattern == counted.prunable * (1 - Pattern.parse(pattern).density)


def test_each_way_to_run_the_model_has_a_line(random_model, freeze):
    model = MaskedModel(freeze(random_model("llama")))
    draw = torch.Generator().manual_seed(0)
    layers = model.frozen.layers
    model.apply_masks(
        {at.name: topn(torch.rand(at.out_features, at.in_features, generator=draw), Pattern(2, 4)) for at in layers}
    )
    load = Workload(batch=2, prompt=8, generated=4, repeats=2)
    without = speeds(model, load, sparse=None, why_not="no kernel")
    assert [speed.name for speed in without] == ["dense", "masked, dense kernels", "masked, sparse kernels"]
    assert without[-1].skipped == "no kernel"
    with_kernel = speeds(model, load, sparse=lambda: model.module, why_not="")
    assert all(speed.prefill > 0 and speed.decode > 0 and not speed.skipped for speed in with_kernel)
