"""The loss of each sequence under its own mask is that of a forward of the sequence alone with this mask.

Legend: K sequences, T tokens.
"""

import itertools

import pytest
import torch
from scripted_engine import ScriptedEngine

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import sequence_losses
from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.needs import sequence_bytes
from nmlab.trials.engines.sequence_losses import SequenceLosses
from nmlab.trials.measure.tensor_meter import TensorMeter
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.needs import Shape

K, T = 5, 12
TOKENS_KT = torch.randint(1, 500, (K, T), generator=torch.Generator().manual_seed(0))
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def _engine(frozen, *, pattern="2:4", share=0.02):
    return ScriptedEngine(GroupLayout(frozen.layers, pattern=Pattern.parse(pattern)), share=share)


def _draws(engine, *, count=K, step=0):
    return [engine.sample(MaskKey(0, step, index)) for index in range(count)]


def _separate(frozen, engine, draws):
    """Return the losses of forwards of one sequence with one mask each."""
    model, losses = MaskedModel(frozen), []
    for draw, tokens_T in zip(draws, TOKENS_KT.repeat(3, 1), strict=False):
        model.apply_masks(engine.layout.split(draw.over(engine.mode())))
        losses.append(model.loss(tokens_T[None]))
    return losses


@pytest.fixture
def frozen(random_model, freeze):
    return freeze(random_model("llama"))


@pytest.mark.parametrize("way", ["corrected", "own", None])
@pytest.mark.parametrize(
    ("architecture", "pattern", "share"),
    [
        ("llama", "2:4", 0.01),
        ("llama", "8:16", 0.2),
        ("qwen2", "4:8", 0.05),  # with biases of queries, keys and values
        ("opt", "1:4", 0.05),  # with biases, and embeddings tied to the head
        ("gemma2", "3:4", 1.0),
    ],
)
def test_each_loss_is_that_of_a_forward_of_its_own(random_model, freeze, architecture, pattern, share, way):
    frozen = freeze(random_model(architecture))
    engine = _engine(frozen, pattern=pattern, share=share)
    losses = SequenceLosses(MaskedModel(frozen), engine, way=way)
    assert losses.together
    for step in range(3):
        draws = _draws(engine, step=step)
        loss = losses.of(draws, TOKENS_KT)
        found, expected = [loss(index) for index in range(K)], _separate(frozen, engine, draws)
        assert found == pytest.approx(expected, rel=1e-5)
        assert len(set(found)) == K
        losses.mode_changed(engine.descend(draws, weights=[1.0], rate=1.0))
    assert frozen.unchanged()


@pytest.mark.parametrize("way", ["corrected", "own"])
def test_bfloat16_differs_by_its_rounding(random_model, freeze, way):
    frozen = freeze(random_model("llama").to(torch.bfloat16))
    engine = _engine(frozen, share=0.05)
    draws = _draws(engine)
    loss = SequenceLosses(MaskedModel(frozen), engine, way=way).of(draws, TOKENS_KT)
    found, separate = [loss(index) for index in range(K)], _separate(frozen, engine, draws)
    exact = _separate(freeze(random_model("llama").to(torch.bfloat16).float()), engine, draws)
    error = [abs(one - other) for one, other in zip(found, exact, strict=True)]
    usual = [abs(one - other) for one, other in zip(separate, exact, strict=True)]
    assert found == pytest.approx(separate, rel=2e-2)
    assert sum(error) <= 3 * sum(usual)
    assert frozen.unchanged()


@pytest.mark.parametrize("way", ["corrected", "own"])
def test_masks_without_copied_weights_give_the_same_losses(frozen, way):
    engine = _engine(frozen)
    draws, held = _draws(engine), MaskedModel(frozen)
    held.multiply_on_the_fly(4)
    by_codes, by_copies = (
        SequenceLosses(model, engine, way=way).of(draws, TOKENS_KT) for model in (held, MaskedModel(frozen))
    )
    assert [by_codes(index) for index in range(K)] == [by_copies(index) for index in range(K)]


@pytest.mark.parametrize("way", ["corrected", "own"])
def test_layers_that_share_a_weight_share_its_mask(random_model, freeze, way):
    module = random_model("llama")
    first, second = module.model.layers
    first.self_attn.v_proj.weight = first.self_attn.k_proj.weight
    second.mlp = first.mlp
    frozen = freeze(module)
    assert any(layer.aliases for layer in frozen.layers)
    engine = _engine(frozen, share=0.1)
    draws = _draws(engine)
    losses = SequenceLosses(MaskedModel(frozen), engine, way=way)
    assert losses.together
    loss = losses.of(draws, TOKENS_KT)
    assert [loss(index) for index in range(K)] == pytest.approx(_separate(frozen, engine, draws), rel=1e-5)


def test_a_loss_depends_on_no_other_that_is_asked_for(frozen, monkeypatch):
    """Seven sequences make three units of at most three; peers ask for some of them, in any order."""
    monkeypatch.setattr(sequence_losses, "TOGETHER", 3)
    engine, tokens_KT = _engine(frozen), TOKENS_KT.repeat(2, 1)[:7]
    draws = _draws(engine, count=7)
    whole = SequenceLosses(MaskedModel(frozen), engine).of(draws, tokens_KT)
    expected = [whole(index) for index in range(7)]
    assert expected == pytest.approx(_separate(frozen, engine, draws), rel=1e-5)
    for asked in ([6], [1, 3, 5], [4, 2, 0, 6]):
        peer = SequenceLosses(MaskedModel(frozen), engine).of(draws, tokens_KT)
        assert [peer(index) for index in asked] == [expected[index] for index in asked]


def test_a_peer_that_gets_every_second_mask_evaluates_half_of_the_sequences(frozen, monkeypatch):
    engine, model, seen = _engine(frozen), MaskedModel(frozen), []
    evaluate = model.sequence_losses
    monkeypatch.setattr(
        model, "sequence_losses", lambda tokens, *a, **k: seen.append(len(tokens)) or evaluate(tokens, *a, **k)
    )
    loss = SequenceLosses(model, engine).of(_draws(engine, count=16), TOKENS_KT.repeat(4, 1)[:16])
    for index in range(1, 16, 2):
        loss(index)
    assert seen == [8]


def test_a_micro_batch_bounds_how_many_sequences_go_through_at_once(frozen, monkeypatch):
    engine, model, seen = _engine(frozen), MaskedModel(frozen), []
    model.micro_batch = 2
    read = model.map_logits
    monkeypatch.setattr(model, "map_logits", lambda tokens, with_: seen.append(len(tokens)) or read(tokens, with_))
    draws = _draws(engine)
    loss = SequenceLosses(model, engine).of(draws, TOKENS_KT)
    assert [loss(index) for index in range(K)] == pytest.approx(_separate(frozen, engine, draws), rel=1e-5)
    assert sorted(seen) == [1, 2, 2]


def test_a_model_that_mixes_sequences_takes_one_after_the_other(random_model, freeze):
    frozen = freeze(random_model("mamba", state_size=8, time_step_rank=4))
    engine = _engine(frozen)
    losses, draws = SequenceLosses(MaskedModel(frozen), engine), _draws(engine)
    assert not losses.together
    loss = losses.of(draws, TOKENS_KT)
    assert [loss(index) for index in range(K)] == _separate(frozen, engine, draws)


def test_a_draw_for_each_sequence_is_asked_for(frozen):
    engine = _engine(frozen)
    with pytest.raises(ValueError, match="2 masks for 5 sequences, expected one mask for each"):
        SequenceLosses(MaskedModel(frozen), engine).of(_draws(engine, count=2), TOKENS_KT)


@pytest.mark.parametrize("way", ["corrected", "own", None])
def test_stages_compute_the_losses_of_the_whole_model(saved, load_stage, run_pipeline, way):
    """The masks of a stage are those of its layers in the draws of the whole model; losses are equal bit for bit."""
    source = saved("llama", num_hidden_layers=4)

    def work(pipeline):
        frozen = load_stage(source, pipeline)
        engine = ByLayer(frozen)
        loss = SequenceLosses(MaskedModel(frozen, pipeline=pipeline), engine, way=way).of(engine.draws, TOKENS_KT)
        return [loss(index) for index in range(K)]

    (whole,) = run_pipeline(1, work)
    for size in (2, 3):
        assert run_pipeline(size, work) == [whole] * size
    assert all(one != other for one, other in itertools.pairwise(whole))


@pytest.mark.parametrize("share", [1e-3, 0.02, 0.3])
def test_a_step_takes_no_more_memory_than_predicted(random_model, freeze, share):
    """Beside the activations of a plain forward; far less than a copy of the weights for each mask."""
    frozen = freeze(random_model("llama", hidden_size=128, intermediate_size=384))
    engine, model = _engine(frozen, share=share), MaskedModel(frozen)
    losses, draws = SequenceLosses(model, engine), _draws(engine)
    losses.of(draws, TOKENS_KT)(0)  # applies the masks to the model
    with TensorMeter() as plain:
        model.loss(TOKENS_KT)
    with TensorMeter() as meter:
        losses.of(draws, TOKENS_KT)(0)
    held = sum(draw.groups_g.nbytes + draw.masks_gM.nbytes for draw in draws)
    sizes = {name: tuple(weight.shape) for name, weight in frozen.module.named_parameters()}
    shape = Shape(frozen.layers, sizes, 4, 128, Pattern(2, 4), sequences=K, length=T)
    predicted = sequence_bytes(shape, masks=K, share=share)
    assert held + meter.peak - plain.peak <= 1.1 * predicted < K * shape.weight_bytes
    assert predicted <= 2 * (held + meter.peak)


class ByLayer(ScriptedEngine):
    """Draws that depend on the names of layers, not on which others there are."""

    def __init__(self, frozen):
        super().__init__(GroupLayout(frozen.layers, pattern=Pattern(2, 4)), share=0.05)
        drawn = [self._of_layer(layer) for layer in frozen.layers]
        self._mode_GM = torch.cat([mode for mode, _ in drawn])
        whole = [torch.cat([masks[index] for _, masks in drawn]) for index in range(K)]
        self.draws = [self._difference(index, mask_GM) for index, mask_GM in enumerate(whole)]

    def _of_layer(self, layer):
        draw, groups = torch.Generator().manual_seed(sum(layer.name.encode())), layer.numel // 4
        mode, *others = (torch.rand(groups, 4, generator=draw).argsort(dim=1) < 2 for _ in range(K + 1))
        kept = [torch.rand(groups, 1, generator=draw) < 0.95 for _ in others]
        return mode, [torch.where(keep, mode, other) for keep, other in zip(kept, others, strict=True)]

    def _difference(self, index, mask_GM):
        groups_g = (mask_GM != self._mode_GM).any(dim=1).nonzero().flatten()
        return sequence_losses.Draw(MaskKey(0, 0, index), groups_g, mask_GM[groups_g])
