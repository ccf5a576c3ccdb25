"""How a model uses its weights when it reads text, traced without contents and without regard to names."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from nmlab.trials.models.prunable import find_prunable
from nmlab.trials.models.usage import usage_of

HIDDEN = 16


@pytest.fixture
def mlp(random_model):
    """Make a Llama whose first MLP is another module: mlp(module) returns the model."""

    def make(module):
        model = random_model("llama", hidden_size=HIDDEN, num_attention_heads=2, num_key_value_heads=2)
        model.model.layers[0].mlp = module
        return model

    return make


class Chooses(nn.Module):
    """Two linear layers of one shape, one of which is a selector; the names suggest the opposite."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(HIDDEN, 4, bias=False)
        self.gate = nn.Linear(HIDDEN, 4, bias=False)
        self.back = nn.Linear(4, HIDDEN, bias=False)

    def forward(self, hidden):
        best = self.gate_proj(hidden).softmax(-1).topk(2, dim=-1).indices
        return self.back(self.gate(hidden) * F.one_hot(best, 4).sum(-2).to(hidden.dtype))


class Bare(nn.Module):
    """Weights that are used without a call of their layer, or never."""

    def __init__(self):
        super().__init__()
        self.fn = nn.Linear(HIDDEN, HIDDEN)
        self.turned = nn.Linear(HIDDEN, HIDDEN)
        self.spare = nn.Linear(HIDDEN, HIDDEN)
        self.matrix = nn.Parameter(torch.ones(HIDDEN, HIDDEN))
        self.scale = nn.Parameter(torch.ones(2, HIDDEN))

    def forward(self, hidden):
        hidden = F.linear(hidden, self.fn.weight) @ self.turned.weight.T
        return (hidden @ self.matrix.float().exp().to(hidden.dtype)) * self.scale.sum(0)


def test_selectors_are_recognised_by_the_use_of_their_product(mlp):
    usage = usage_of(mlp(Chooses()))
    assert usage.problem == ""
    assert usage.selecting == {"model.layers.0.mlp.gate_proj.weight"}


def test_selectors_are_left_dense_and_an_mlps_gate_proj_is_pruned(mlp):
    found = find_prunable(mlp(Chooses()))
    names = {layer.name for layer in found.layers}
    assert {"model.layers.0.mlp.gate", "model.layers.0.mlp.back", "model.layers.1.mlp.gate_proj"} <= names
    assert "model.layers.0.mlp.gate_proj" not in names
    assert "left dense: mlp.gate_proj (" in found.coverage.sentence()
    assert "selects experts or tokens" in found.coverage.sentence()


def test_a_weight_that_is_used_without_its_layer_is_no_unused_one(mlp):
    usage = usage_of(mlp(Bare()))
    inside = "model.layers.0.mlp"
    assert {f"{inside}.fn.weight", f"{inside}.turned.weight", f"{inside}.matrix"} <= usage.multiplied
    assert f"{inside}.spare.weight" not in usage.touched
    assert f"{inside}.scale" in usage.touched - usage.multiplied
    assert {f"{inside}.fn", f"{inside}.spare"}.isdisjoint(usage.called)


def test_layers_without_a_call_are_pruned_and_marked_and_unused_ones_are_not(mlp):
    model = mlp(Bare())
    with pytest.raises(
        ValueError, match=r"11\.1% .* would stay dense: mlp\.matrix \(5\.6%, Bare\).*leave_dense=\[matrix\]$"
    ):
        find_prunable(model)
    found = find_prunable(model, leave_dense=["matrix"])
    marked = {layer.name.rpartition(".")[2] for layer in found.layers if not layer.is_called}
    assert marked == {"fn", "turned"}
    assert "mlp.spare (5.6%, never used on text)" in found.coverage.sentence()
    assert "mlp.matrix (5.6%, named in model.leave_dense)" in found.coverage.sentence()
    assert "scale" not in found.coverage.sentence()


def test_a_layer_of_one_output_weighs_a_branch_and_stays_dense(mlp):
    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            self.main = nn.Linear(HIDDEN, HIDDEN)
            self.amount = nn.Linear(HIDDEN, 1)

        def forward(self, hidden):
            return self.main(hidden) * self.amount(hidden).sigmoid()

    names = {layer.name for layer in find_prunable(mlp(Weighed())).layers}
    assert "model.layers.0.mlp.main" in names
    assert "model.layers.0.mlp.amount" not in names


def test_a_forward_that_cannot_be_traced_is_reported_and_leaves_every_layer_prunable(mlp):
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.main = nn.Linear(HIDDEN, HIDDEN)

        def forward(self, hidden):
            return self.main(hidden) if float(hidden.sum()) > 0 else hidden

    found = find_prunable(mlp(Looks()))
    assert "model.layers.0.mlp.main" in {layer.name for layer in found.layers}
    assert "could not be followed (" in found.coverage.sentence()


@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt_neox"])
def test_a_skeleton_gives_the_same_as_the_model_and_neither_is_changed(random_model, architecture):
    model = random_model(architecture)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(AutoConfig.for_model(**model.config.to_dict()))
    assert usage_of(model) == usage_of(skeleton)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_one_number_of_a_text_does_not_decide_what_is_unused(mlp):
    class Patient(nn.Module):
        """Uses one more layer where a text is long."""

        def __init__(self):
            super().__init__()
            self.main = nn.Linear(HIDDEN, HIDDEN)
            self.far = nn.Linear(HIDDEN, HIDDEN)

        def forward(self, hidden):
            return self.far(self.main(hidden)) if hidden.shape[1] >= 128 else self.main(hidden)

    assert "model.layers.0.mlp.far" in {layer.name for layer in find_prunable(mlp(Patient())).layers}
