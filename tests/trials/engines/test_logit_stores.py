"""Stores of logits: what they round, what they save, and what they refuse."""

import math

import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nmlab.trials.engines import initial_store, store_of
from nmlab.trials.engines.logits import LOGIT_STORES
from nmlab.trials.masks.topn import topn

MAGNITUDE = 10.0


@pytest.fixture(params=LOGIT_STORES)
def kind(request):
    return request.param


@pytest.fixture
def begin(layout_of, kind):
    """Make a store with random initial masks: begin("2:4", groups=100)."""

    def start(pattern="2:4", *, groups=500, magnitude=MAGNITUDE):
        layout = layout_of(pattern, groups=groups)
        initial_GM = topn(
            torch.rand(groups, layout.pattern.m, generator=torch.Generator().manual_seed(0)), layout.pattern
        )
        return initial_store(layout, initial_GM, magnitude=magnitude, kind=kind), initial_GM

    return start


def copied(store):
    return safetensors.torch.load(safetensors.torch.save(store.state()))


def nbytes(state):
    return sum(tensor.nbytes for tensor in state.values())


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "8:16", "4:4", "16:32"])
def test_a_store_begins_at_c_and_zero(begin, pattern):
    store, initial_GM = begin(pattern)
    assert torch.equal(store.read(slice(None)), initial_GM * MAGNITUDE)
    assert store.read(slice(None)).dtype == torch.float32


@pytest.mark.parametrize("rows", [slice(3, 90), torch.tensor([0, 5, 6, 499])])
def test_rows_are_read_back_as_written(begin, kind, rows):
    store, _ = begin()
    before = store.read(slice(None)).clone()
    written = before[rows] + torch.randn(before[rows].shape, generator=torch.Generator().manual_seed(1)) * 0.1
    store.write(rows, written)
    step = {"float32": 0.0, "bfloat16_delta": 2.0**-8}[kind]  # half a unit in the last of 8 bits of the difference
    difference = (written - before[rows]).abs()
    assert bool(((store.read(rows) - written).abs() <= step * difference + 2e-6 * (step > 0)).all())
    others = torch.ones(500, dtype=torch.bool).index_fill(0, torch.arange(500)[rows], False)
    assert torch.equal(store.read(slice(None))[others], before[others])


def test_columns_are_rows_transposed(begin):
    store, _ = begin()
    values = torch.randn(4, 60, generator=torch.Generator().manual_seed(1))
    held = store.write_columns(slice(20, 80), values.clone())
    assert torch.equal(store.read(slice(20, 80)), held.t())
    assert torch.equal(store.read_columns(slice(20, 80)), held)
    by_rows, _ = begin()
    by_rows.write(slice(20, 80), values.t())
    assert torch.equal(by_rows.read(slice(None)), store.read(slice(None)))
    store.read_columns(slice(0, 10)).zero_()  # a copy
    assert torch.equal(by_rows.read(slice(None)), store.read(slice(None)))


def test_differences_are_finer_than_plain_bfloat16(begin, kind):
    """A step of bfloat16 at 10 is 0.0625: moves of 0.01 would be lost."""
    store, initial_GM = begin()
    for _ in range(10):
        store.write(slice(None), store.read(slice(None)) + 0.01)
    assert float((store.read(slice(None)) - initial_GM * MAGNITUDE - 0.1).abs().max()) < 5e-3


@pytest.mark.parametrize("pattern", ["2:4", "4:4"])
def test_a_state_lists_the_groups_that_moved_differently(begin, pattern):
    """All other groups have moved to the same two values, which are not those of the start."""
    store, initial_GM = begin(pattern, groups=5000)
    store.write(slice(None), torch.where(initial_GM, 9.75, 0.25))
    store.write(torch.tensor([4, 77, 4999]), torch.randn(3, 4))
    state = copied(store)
    assert state["groups"].tolist() == [4, 77, 4999]
    assert nbytes(state) < 200
    other, _ = begin(pattern, groups=5000)
    other.load_state(state)
    assert torch.equal(other.read(slice(None)), store.read(slice(None)))


def test_a_state_is_whole_where_that_is_smaller(begin):
    store, _ = begin()
    store.write(slice(None), torch.randn(500, 4))
    state = copied(store)
    assert state.keys() == {"values"}
    other, _ = begin()
    other.load_state(state)
    assert torch.equal(other.read(slice(None)), store.read(slice(None)))


def test_a_state_does_not_change_with_the_store(begin):
    store, _ = begin()
    store.write(slice(None), torch.randn(500, 4))
    state = store.state()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    store.write(slice(None), torch.zeros(500, 4))
    assert all(torch.equal(state[name], tensor) for name, tensor in kept.items())


def test_a_state_of_another_layout_or_store_is_refused(begin, kind):
    store, _ = begin()
    with pytest.raises(ValueError, match=r"values of the logits: .* expected"):
        store.load_state({"values": torch.zeros(400, 4)})
    wrong = torch.bfloat16 if kind == "float32" else torch.float32
    with pytest.raises(ValueError, match=f"for the store {kind}"):
        store.load_state({"values": torch.zeros(500, 4, dtype=wrong)})


def test_bytes(begin, kind):
    store, initial_GM = begin()
    assert store.nbytes == initial_GM.numel() * {"float32": 4, "bfloat16_delta": 2}[kind] + 500


def test_an_unknown_kind_gives_the_nearest_name(layout_of):
    layout = layout_of("2:4", groups=2)
    with pytest.raises(ValueError, match="unknown store of logits 'bfloat16'; did you mean 'bfloat16_delta'"):
        store_of(layout, torch.zeros(2, 4), kind="bfloat16")


@pytest.mark.parametrize("magnitude", [-1.0, math.nan, math.inf])
def test_a_magnitude_that_makes_no_sense_is_refused(begin, magnitude):
    with pytest.raises(ValueError, match="logit magnitude"):
        begin(magnitude=magnitude)


def test_an_initial_mask_that_is_not_n_of_m_is_refused_with_its_layer(layout_of):
    layout = layout_of("2:4")
    initial_GM = torch.tensor([True, True, False, False]).repeat(layout.groups, 1)
    layout.split(initial_GM)["blocks.0.up"][2, 6] = True
    with pytest.raises(ValueError, match=r"initial mask of blocks\.0\.up: row 2, group 1 keeps 3 of 4"):
        initial_store(layout, initial_GM, magnitude=1.0)
    with pytest.raises(ValueError, match=r"initial mask: shape \(3, 4\), expected"):
        initial_store(layout, initial_GM[:3], magnitude=1.0)
    with pytest.raises(ValueError, match=r"float32, expected torch\.bool"):
        initial_store(layout, torch.ones(layout.groups, 4), magnitude=1.0)


class _Copies(TorchDispatchMode):
    """Measure the most bytes that any one new tensor takes within the block; views do not count."""

    def __init__(self):
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, function, types, given=(), named=None):
        result = function(*given, **(named or {}))
        held = {tensor.untyped_storage().data_ptr() for tensor in given if isinstance(tensor, torch.Tensor)}
        for tensor in (result,) if isinstance(result, torch.Tensor) else ():
            if tensor.untyped_storage().data_ptr() not in held:
                self.most = max(self.most, tensor.nbytes)
        return result


@pytest.mark.parametrize("moved", [0.0, 0.3, 0.6, 1.0])
def test_no_copy_of_all_logits_is_made_for_a_checkpoint(begin, moved, monkeypatch):
    """Neither to compare sizes nor because most groups have moved; a list of the others takes half of them at most."""
    monkeypatch.setattr("nmlab.trials.engines.logits._PIECE", 2**12)
    store, _ = begin(groups=300_000)
    rows = torch.arange(int(moved * 300_000))
    store.write(rows, torch.randn(len(rows), 4))
    with _Copies() as copies:
        state = store.state(copied=False)
    assert copies.most <= store.held_GM.nbytes // 2
    other, _ = begin(groups=300_000)
    other.load_state(state)
    assert torch.equal(other.read(slice(None)), store.read(slice(None)))


@pytest.mark.parametrize("moved", [0.0, 0.1, 1.0])
def test_a_state_that_is_not_written_down_at_once_is_a_copy_of_its_own(begin, moved):
    store, _ = begin(groups=1000)
    rows = torch.arange(int(moved * 1000))
    store.write(rows, torch.randn(len(rows), 4))
    shared = store.held_GM.untyped_storage().data_ptr()
    assert all(tensor.untyped_storage().data_ptr() != shared for tensor in store.state().values())
