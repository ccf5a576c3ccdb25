"""Packed masks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.masks.bits import pack, packed_size, unpack


@given(st.lists(st.booleans(), max_size=70))
def test_round_trip_of_any_length(entries):
    mask = torch.tensor(entries, dtype=torch.bool)
    bits = pack(mask)
    assert (bits.dtype, bits.numel()) == (torch.uint8, packed_size(len(entries)))
    assert torch.equal(unpack(bits, shape=mask.shape), mask)


def test_bit_order_is_little_endian():
    assert pack(torch.tensor([True] + [False] * 7 + [False, True])).tolist() == [1, 2]


def test_shape_is_restored_and_the_result_is_writable():
    mask = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    restored = unpack(pack(mask), shape=[3, 5, 4])
    assert torch.equal(restored, mask)
    restored.logical_not_()
    assert torch.equal(restored, ~mask)


def test_non_contiguous_mask_is_packed_in_logical_order():
    mask = (torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.5).t()
    assert torch.equal(unpack(pack(mask), shape=(7, 5)), mask)


@pytest.mark.parametrize("shape", [(8,), (17,), (4, 5)])
def test_wrong_length_is_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        unpack(pack(torch.ones(16, dtype=torch.bool)), shape=shape)


def test_set_bits_beyond_the_shape_are_refused():
    with pytest.raises(ValueError, match="unused bits after entry 14"):
        unpack(pack(torch.ones(16, dtype=torch.bool)), shape=(2, 7))


@pytest.mark.parametrize("bits", [torch.zeros(2, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.uint8)])
def test_other_dtypes_and_matrices_are_refused(bits):
    with pytest.raises(ValueError, match=r"expected 2 bytes of torch.uint8"):
        unpack(bits, shape=(16,))


def test_packing_a_float_mask_is_refused():
    with pytest.raises(ValueError, match=r"torch.float32, expected torch.bool"):
        pack(torch.ones(4))
