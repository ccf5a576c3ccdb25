"""A layer whose sequences have masks of their own computes what torch computes with each weight by itself.

Legend: K sequences, T tokens, O outputs, I inputs, g groups of a sequence, M group size.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.masked_weight import CopiedWeight, MultipliedWeight
from nmlab.trials.models.sequences import LayerDeviations, masked_by_sequence
from nmlab.trials.models.sequences.correction import corrections_of
from nmlab.trials.models.sequences.ways import choose_way

CPU = torch.device("cpu")
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.05}
patterns = st.sampled_from(["1:2", "2:4", "1:4", "3:4", "4:8", "8:16", "4:4"]).map(Pattern.parse)


class Layer:
    """A linear layer with a random mask, and random masks of sequences over it."""

    def __init__(self, pattern, *, outputs, groups, draw, dtype=torch.float32, bias=False, kind=CopiedWeight):
        self.pattern, self._draw = pattern, draw
        self.linear = nn.Linear(groups * pattern.m, outputs, bias=bias, dtype=dtype).requires_grad_(False)
        self.linear.weight.copy_(torch.randn(self.linear.weight.shape, generator=draw))
        self.dense_OI = self.linear.weight.clone()
        self.masked = kind([self.linear]) if kind is CopiedWeight else kind([self.linear], m=pattern.m)
        self.mode_GM = self.masks(outputs * groups)
        self.masked.apply(self.dense_OI, self.mode_GM.view_as(self.dense_OI))

    def masks(self, groups):
        return torch.rand(groups, self.pattern.m, generator=self._draw).argsort(dim=1) < self.pattern.n

    def deviations(self, shares, *, first=0):
        """Give each sequence other masks in its share of the groups, which are numbered from ``first``."""
        total = len(self.mode_GM)
        groups = [(torch.rand(total, generator=self._draw) < share).nonzero().flatten() for share in shares]
        return LayerDeviations([each + first for each in groups], [self.masks(len(each)) for each in groups], first)

    def expected(self, inputs_KTI, deviations):
        """Multiply each sequence with its weights in float64."""
        made = []
        for inputs_TI, (groups_g, masks_gM) in zip(inputs_KTI, deviations.by_sequence(), strict=True):
            mask_GM = self.mode_GM.clone()
            mask_GM[groups_g] = masks_gM
            bias_O = None if self.linear.bias is None else self.linear.bias.double()
            made.append(F.linear(inputs_TI.double(), self.dense_OI.double() * mask_GM.view_as(self.dense_OI), bias_O))
        return torch.stack(made)


def _close(found, expected):
    """Compare relative to the size of the products, whose sums may cancel."""
    scale = expected.abs().max() + 1e-6
    return float((found.double() - expected).abs().max() / scale) < ROUNDING[found.dtype]


@settings(max_examples=60, deadline=None)
@given(
    pattern=patterns,
    shares=st.lists(st.sampled_from([0.0, 0.05, 0.3, 1.0]), min_size=1, max_size=5),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 6)),
    dtype=st.sampled_from(list(ROUNDING)),
    way=st.sampled_from(["corrected", "own", None]),
    multiplied=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_each_sequence_is_multiplied_with_its_own_weights(pattern, shares, sizes, dtype, way, multiplied, bias, seed):
    draw = torch.Generator().manual_seed(seed)
    outputs, groups, tokens = sizes
    kind = MultipliedWeight if multiplied else CopiedWeight
    layer = Layer(pattern, outputs=outputs, groups=groups, draw=draw, dtype=dtype, bias=bias, kind=kind)
    deviations = layer.deviations(shares, first=seed % 100)
    inputs_KTI = torch.randn(len(shares), tokens, groups * pattern.m, generator=draw).to(dtype)
    before = layer.linear(inputs_KTI)
    with masked_by_sequence({"layer": layer.masked}, {"layer": deviations}, tokens=tokens, way=way):
        found = layer.linear(inputs_KTI)
        flat = layer.linear(inputs_KTI.flatten(0, 1))
    assert found.dtype == dtype
    assert _close(found, layer.expected(inputs_KTI, deviations))
    assert torch.equal(flat, found.flatten(0, 1))
    assert torch.equal(layer.linear(inputs_KTI), before), "the masks of sequences are gone"


def test_corrections_of_layers_of_different_shapes_are_computed_at_once():
    draw = torch.Generator().manual_seed(0)
    layers = [Layer(Pattern(2, 4), outputs=outputs, groups=groups, draw=draw) for outputs, groups in ((3, 9), (20, 2))]
    pairs = [(layer.masked, layer.deviations([0.5, 0.0, 0.2], first=first)) for first, layer in enumerate(layers)]
    alone = [corrections_of([pair])[0] for pair in pairs]
    for one, other in zip(corrections_of(pairs), alone, strict=True):
        assert one.widths == other.widths
        for name in ("columns_KE", "values_KE", "rows_KR"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_masks_equal_to_the_applied_ones_correct_nothing():
    layer = Layer(Pattern(2, 4), outputs=4, groups=3, draw=torch.Generator().manual_seed(0))
    groups_g = torch.arange(4)
    (correction,) = corrections_of([(layer.masked, LayerDeviations([groups_g] * 2, [layer.mode_GM[:4]] * 2))])
    assert correction.widths == ()
    outputs_KTO = torch.ones(2, 3, 4)
    correction.add_to(outputs_KTO, torch.ones(2, 3, 12))
    assert (outputs_KTO == 1).all()


def test_a_slot_is_a_prefix_of_the_rows():
    """Row 2 has four changed entries and row 0 has two, so two slots hold both rows and two hold row 2 alone."""
    layer = Layer(Pattern(1, 2), outputs=3, groups=2, draw=torch.Generator().manual_seed(0))
    groups_g = torch.tensor([0, 4, 5])
    (correction,) = corrections_of([(layer.masked, LayerDeviations([groups_g], [~layer.mode_GM[groups_g]]))])
    assert correction.widths == (2, 2, 1, 1)
    assert correction.rows_KR.tolist() == [[2, 0]]
    assert correction.columns_KE.tolist() == [[0, 0, 1, 1, 2, 3]]


def test_another_number_of_tokens_is_refused():
    layer = Layer(Pattern(2, 4), outputs=2, groups=2, draw=torch.Generator().manual_seed(0))
    deviations = layer.deviations([1.0, 1.0])
    with (
        masked_by_sequence({"layer": layer.masked}, {"layer": deviations}, tokens=3),
        pytest.raises(ValueError, match="got 4 tokens, expected 3 of each of 2 sequences"),
    ):
        layer.linear(torch.zeros(2, 2, 8))


def test_few_deviations_are_corrected_and_many_are_not():
    def way(share, *, device=CPU, tokens=128, shape=(512, 512)):
        groups = int(share * 8 * shape[0] * shape[1] / 4)
        return choose_way(groups, sequences=8, tokens=tokens, shape=shape, device=device)

    assert [way(share) for share in (1e-5, 1e-4, 1e-2, 1e-1)] == ["corrected", "corrected", "own", "own"]
    assert way(1e-2, tokens=4) == "own", "it would take more memory than the inputs"
    assert way(2e-3, tokens=4096) == "own", "longer sequences make up for reading weights again"
    gpu = torch.device("cuda")
    assert [way(share, device=gpu) for share in (2e-3, 1e-1)] == ["corrected", "own"]


def test_the_choice_is_the_same_for_any_split_of_a_minibatch_into_equal_parts():
    """Peers and stages see the same unit; a unit twice as large with twice the deviations has the same choice."""
    for groups in range(0, 4000, 100):
        sizes = {"tokens": 128, "shape": (512, 1408), "device": CPU}
        assert choose_way(groups, sequences=4, **sizes) == choose_way(2 * groups, sequences=8, **sizes)


@pytest.mark.parametrize(("architecture", "apart"), [("llama", True), ("opt", True), ("gemma2", True)])
def test_sequences_pass_side_by_side(random_model, freeze, architecture, apart):
    assert MaskedModel(freeze(random_model(architecture))).computes_sequences_apart() is apart


class Shuffled(nn.Module):
    """Calls its layers with the tokens of all sequences in another order, as routed experts do."""

    def __init__(self, mlp):
        super().__init__()
        self.up_proj, self.down_proj = mlp.up_proj, mlp.down_proj

    def forward(self, hidden_BTH):
        rows = hidden_BTH.flatten(0, 1)
        order = rows[:, 0].argsort()
        return self.down_proj(self.up_proj(rows[order]))[order.argsort()].view_as(hidden_BTH)


def test_a_layer_that_gets_tokens_in_another_order_is_noticed(random_model, freeze):
    module = random_model("llama")
    block = module.model.layers[1]
    block.mlp = Shuffled(block.mlp)
    assert not MaskedModel(freeze(module)).computes_sequences_apart()


def test_a_layer_whose_weight_is_taken_without_a_call_is_noticed(random_model, freeze):
    frozen = freeze(random_model("mamba", state_size=8, time_step_rank=4))
    assert any(not layer.is_called for layer in frozen.layers)
    assert not MaskedModel(frozen).computes_sequences_apart()
