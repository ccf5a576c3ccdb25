"""Chunks are bounded everywhere: by the cache on a CPU, by bytes on any other device, however large the model."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.conditional_poisson import subset_sample
from nmlab.trials.masks.entropic import entropic_topn
from nmlab.trials.masks.layout import _CHUNK_BYTES_ON_DEVICE, chunks
from nmlab.trials.masks.topn import keep_largest
from nmlab.trials.methods.maskllm.maths import hard_mask
from nmlab.trials.methods.susi.maths import sampled_mask

LAYERS = 224
GROUPS = 6_476_005_376 // 4  # of Llama-2-7B


def on_no_device(groups, width=4, dtype=torch.float32):
    """A tensor without contents, of a size that no CPU here holds."""
    return torch.empty(groups, width, dtype=dtype, device="meta")


@pytest.mark.parametrize("width", [4, 8, 16, 70])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.bool])
def test_a_chunk_on_a_device_is_bounded_by_bytes(width, dtype):
    tensors = on_no_device(GROUPS, width, dtype), on_no_device(GROUPS, width, torch.bool)
    seen, most = 0, 0
    for first, second in chunks(*tensors):
        assert len(first) == len(second)
        seen, most = seen + len(first), max(most, first.numel())
    assert seen == GROUPS
    assert most * 4 <= _CHUNK_BYTES_ON_DEVICE
    assert most * 4 > _CHUNK_BYTES_ON_DEVICE // 2, "nor so small that launches are all that is paid for"


def test_a_small_model_on_a_device_is_one_chunk():
    assert len(list(chunks(on_no_device(1000), layers=[400, 600]))) == 1


@pytest.mark.parametrize(
    "mask_of",
    [
        lambda keys: keep_largest(keys, 2),
        lambda keys: entropic_topn(keys, tau=1.0, n=2),
        lambda keys: subset_sample(keys, keys, n=2),
        lambda keys: sampled_mask(keys, keys, lam=1.0, n=2),
        lambda keys: hard_mask(keys, pattern=Pattern(1, 4)),
    ],
)
def test_no_temporary_on_a_device_is_as_large_as_the_model(mask_of, largest_new_tensor):
    groups = 40 * _CHUNK_BYTES_ON_DEVICE // 16
    keys_GM = on_no_device(groups)
    with largest_new_tensor() as largest:
        mask_GM = mask_of(keys_GM)
    assert mask_GM.shape == (groups, 4)
    assert largest.other_than(mask_GM.nbytes) <= 2 * _CHUNK_BYTES_ON_DEVICE
