"""Files of tensors: whole or not there, the same bytes for the same contents, and damage is located."""

import pytest
import safetensors
import torch

from nmlab.trials.files.tensor_file import read_tensors, tensor_digest, write_tensors

HEADER = {name: name.upper() for name in ("zeta", "alpha", "gamma", "beta", "delta")} | {
    "text": 'quo"te \\ \n é ∂ \x01'
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tensors.safetensors"


def _tensors():
    return {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.tensor(True)}


def test_tensors_and_header_come_back(path):
    write_tensors(path, _tensors(), header=HEADER)
    tensors, header = read_tensors(path, kind="file")
    assert header == HEADER
    assert tensors.keys() == _tensors().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in _tensors().items())
    assert [path] == list(path.parent.iterdir())


@pytest.mark.slow
def test_the_same_contents_give_the_same_bytes_in_every_process(path, elsewhere):
    """The order of the library's hash table differs from one call to the next, and from process to process."""
    write_tensors(path, _tensors(), header=HEADER)
    first = path.read_bytes()
    for _ in range(5):
        write_tensors(path, _tensors(), header=dict(reversed(HEADER.items())))
        assert path.read_bytes() == first
    write_tensors(path, {"a": torch.zeros(3)}, header={name: name for name in "poiuytrewq"})
    assert path.read_bytes() == elsewhere["file"]


def test_a_file_in_order_is_still_the_librarys(path):
    write_tensors(path, _tensors(), header=HEADER)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == HEADER
        assert torch.equal(file.get_tensor("a"), _tensors()["a"])


def test_a_failure_leaves_the_file_that_was_there(path):
    write_tensors(path, _tensors(), header=HEADER)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(path, _tensors(), header={"number": 3})
    assert path.read_bytes() == before
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize(("dropped", "named"), [(1, "c"), (1 + 8, "b"), (1 + 8 + 4, "a")])
def test_a_file_that_is_cut_short_names_the_tensor(path, dropped, named):
    """The library stores the larger types first: a (24 bytes), b (8 bytes), c (1 byte)."""
    write_tensors(path, _tensors(), header=HEADER)
    path.write_bytes(path.read_bytes()[:-dropped])
    with pytest.raises(ValueError, match=rf"weights .*: cut short, tensor '{named}' is not whole"):
        read_tensors(path, kind="weights")


@pytest.mark.parametrize("contents", [b"", b"1234", b"text of no meaning whatsoever", (2**62).to_bytes(8, "little")])
def test_a_file_of_another_kind_is_refused(path, contents):
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        read_tensors(path, kind="weights")


def test_a_digest_tells_name_type_shape_and_bytes():
    base = torch.zeros(2, 3)
    others = [("b", base), ("a", base.view(3, 2)), ("a", base.int()), ("a", base + 1)]
    assert len({tensor_digest("a", base), *(tensor_digest(*other) for other in others)}) == 5
