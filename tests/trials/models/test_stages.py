"""A model in pipeline stages has the weights, losses and gradients of the whole model, bit for bit."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource
from nmlab.trials.models.prunable import decoder_blocks
from nmlab.trials.models.stage import read_stage, split_blocks

OTHERS = (("qwen2", 3), ("opt", 3), ("gemma2", 3), ("gpt_neox", 3))
TOKENS_BT = torch.arange(27).view(3, 9) % 7 * 31
# Of three stages of four blocks the first has one block, the second is neither first nor last, and the third has two.
CASES = [("llama", 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in (*OTHERS, ("llama", 2), ("llama", 4)))]


@pytest.fixture
def llama(saved):
    return saved("llama", num_hidden_layers=4)


@pytest.mark.parametrize(("architecture", "size"), CASES)
def test_all_stages_return_the_losses_of_the_whole(saved, load_stage, run_pipeline, architecture, size):
    source = saved(architecture, num_hidden_layers=4)

    def losses(pipeline):
        model = MaskedModel(load_stage(source, pipeline), pipeline=pipeline)
        return model.loss(TOKENS_BT), model.token_losses(TOKENS_BT).tolist()

    (whole,) = run_pipeline(1, losses)
    assert run_pipeline(size, losses) == [whole] * size


@pytest.mark.parametrize(("architecture", "size"), CASES)
def test_gradients_are_those_of_the_whole(saved, load_stage, run_pipeline, architecture, size):
    """Twice, because a pipeline group must be ready for the next backward."""
    source = saved(architecture, num_hidden_layers=4)

    def gradients(pipeline):
        frozen = load_stage(source, pipeline)
        model, found = MaskedModel(frozen, pipeline=pipeline), {}
        for _ in range(2):
            leaves = {
                f"{at.name}.weight": frozen.module.get_parameter(f"{at.name}.weight").clone().requires_grad_()
                for at in frozen.layers
            }
            loss = model.loss_under(leaves, TOKENS_BT)
            (3 * loss).backward()
            found = {name: leaf.grad for name, leaf in leaves.items()}
        return float(loss.detach()), found

    ((loss, whole),) = run_pipeline(1, gradients)
    parts = run_pipeline(size, gradients)
    assert [returned for returned, _ in parts] == [loss] * size
    joined = {name: gradient for _, part in parts for name, gradient in part.items()}
    assert joined.keys() == whole.keys()
    assert all(torch.equal(joined[name], whole[name]) for name in whole)


@pytest.mark.parametrize("size", [2, 4])
def test_a_stage_holds_its_own_blocks_and_no_others(llama, run_pipeline, size):
    whole = FrozenModel.load(llama)
    stages = run_pipeline(size, lambda pipeline: FrozenModel.load(llama, pipeline=pipeline))
    assert [layer for stage in stages for layer in stage.layers] == list(whole.layers)
    assert all(stage.all_layers == whole.layers for stage in stages)
    assert {stage.digest for stage in stages} == {whole.digest}
    assert all(stage.unchanged() for stage in stages)
    blocks = [sum(p.numel() for p in block.parameters()) for block in decoder_blocks(whole.module)[1]]
    for stage, own in zip(stages, split_blocks(4, stages=size), strict=True):
        held = [sum(p.numel() for p in block.parameters()) for block in decoder_blocks(stage.module)[1]]
        assert held == [count if index in own else 0 for index, count in enumerate(blocks)]
    names = [{name for name, _ in stage.module.named_parameters()} for stage in stages]
    assert [stage for stage, held in enumerate(names) if "model.embed_tokens.weight" in held] == [0]
    assert [stage for stage, held in enumerate(names) if "lm_head.weight" in held] == [size - 1]


def test_tied_embeddings_are_held_by_both_ends(saved, run_pipeline):
    source = saved("opt", num_hidden_layers=4)
    stages = run_pipeline(3, lambda pipeline: FrozenModel.load(source, pipeline=pipeline))
    held = [stage.module.get_input_embeddings()._parameters.get("weight") is not None for stage in stages]
    assert held == [True, False, True]
    assert {stage.digest for stage in stages} == {FrozenModel.load(source).digest}


def test_a_changed_weight_is_noticed_by_its_stage(llama, run_pipeline):
    stages = run_pipeline(2, lambda pipeline: FrozenModel.load(llama, pipeline=pipeline))
    name = stages[1].layers[0].name
    with torch.no_grad():
        stages[1].module.get_parameter(f"{name}.weight")[0, 0] += 1
    assert [stage.unchanged() for stage in stages] == [True, False]


def test_another_dtype_is_cast_on_the_way(llama, run_pipeline):
    half = llama.model_copy(update={"dtype": "bfloat16"})
    stages = run_pipeline(2, lambda pipeline: FrozenModel.load(half, pipeline=pipeline))
    assert {stage.digest for stage in stages} == {FrozenModel.load(half).digest}
    assert {p.dtype for stage in stages for p in stage.module.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(("blocks", "stages"), [(1, 1), (4, 1), (4, 4), (7, 2), (7, 3), (32, 5)])
def test_blocks_are_split_evenly_and_in_order(blocks, stages):
    parts = split_blocks(blocks, stages=stages)
    assert [block for part in parts for block in part] == list(range(blocks))
    sizes = [len(part) for part in parts]
    assert len(parts) == stages
    assert max(sizes) - min(sizes) <= 1


def test_more_stages_than_blocks_are_refused_with_both_numbers():
    with pytest.raises(
        ValueError, match="5 pipeline stages for a model of 4 decoder blocks: expected 1 to 4 pipeline stages"
    ):
        split_blocks(4, stages=5)


def test_a_checkpoint_that_lacks_a_tensor_of_the_stage_is_refused(saved, run_pipeline, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(saved("llama", num_hidden_layers=4).source, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.3.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    source = ModelSource(source=str(folder))
    with pytest.raises(SourceError, match=r"lacks 1 of its weights, such as model\.layers\.3\.mlp\.up_proj\.weight"):
        read_stage(folder, source, index=1, count=2)
    assert read_stage(folder, source, index=0, count=2)  # which does not need it
