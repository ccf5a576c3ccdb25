"""Every private part of torch and transformers that nmlab uses, tried with the installed version."""

import ast
import logging
import re
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.sparse import SparseSemiStructuredTensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from nmlab.trials import compat

SMALL = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "vocab_size": 8,
}


class Seen(compat.TorchDispatchMode):
    """Records the operations that torch dispatches."""

    def __init__(self):
        super().__init__()
        self.packets = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        self.packets.append(op.overloadpacket)
        return op(*args, **(kwargs or {}))


def seen(run):
    with Seen() as mode:
        run()
    return mode.packets


def fake_tensor_mode():
    with compat.FakeTensorMode(allow_non_fake_inputs=True):
        made = torch.zeros(1 << 40) @ torch.zeros(1 << 40, 2)
    assert made.shape == (2,)
    assert made.device == torch.device("cpu")


def fake_tensor_logger():
    source = ast.parse(Path(compat.FakeTensorMode.__init__.__code__.co_filename).read_text("utf-8"))
    assert "log = logging.getLogger(__name__)" in {ast.unparse(node) for node in source.body}
    assert compat.FAKE_TENSOR_LOGGER in logging.root.manager.loggerDict


def dispatch_mode():
    assert torch.ops.aten.mm in seen(lambda: torch.ones(2, 2) @ torch.ones(2, 2))


def attention_on_cpu():
    query = torch.randn(1, 1, 16, 8, requires_grad=True)
    packets = seen(lambda: F.scaled_dot_product_attention(query, query, query, is_causal=True).sum().backward())
    assert set(compat.ATTENTION_ON_CPU) <= set(packets)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        F.scaled_dot_product_attention(query, query, query, is_causal=True)
    assert counter.get_total_flops() == 0, "torch counts attention on the CPU now, so nmlab would count it twice"


def grouped_product():
    tokens, experts, ends = torch.randn(16, 16), torch.randn(2, 16, 16), torch.tensor([8, 16], dtype=torch.int32)
    run = lambda: F.grouped_mm(tokens.bfloat16(), experts.bfloat16(), offs=ends)  # noqa: E731
    with compat.FakeTensorMode(allow_non_fake_inputs=True):
        assert compat.GROUPED_PRODUCT in seen(run)


def cast():
    assert compat.CAST in seen(lambda: torch.ones(2).to(torch.float64))


def reshape():
    assert compat.RESHAPE in seen(lambda: torch.randn(2, 3, 4) @ torch.randn(4, 4))


def storage_id():
    with compat.FakeTensorMode():
        tensor, other = torch.zeros(4), torch.zeros(4)
    ids = [compat.storage_id(each.untyped_storage()) for each in (tensor, tensor.view(2, 2), other)]
    assert ids[0] == ids[1] != ids[2]


def writes_to():
    tensor = torch.zeros(2)
    before = compat.writes_to(tensor)
    assert compat.writes_to(tensor) == before
    tensor.add_(1)
    assert compat.writes_to(tensor) == before + 1


def empty_module():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module.register_buffer("table", torch.zeros(2))
    compat.empty_module(module)
    assert not [*module.parameters(), *module.buffers(), *module.children()]
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    for part in (model.model.embed_tokens, model.model.norm):
        nn.init.constant_(part.weight, 3.0)
    model.model.norm._is_hf_initialized = True
    model.model.embed_tokens._is_hf_initialized = False
    model.initialize_weights()
    assert (model.model.norm.weight == 3).all(), "transformers initialises what is marked as initialised"
    assert not (model.model.embed_tokens.weight == 3).all()


def computes_experts_at_once():
    with torch.device("meta"):
        assert not compat.computes_experts_at_once(LlamaForCausalLM(LlamaConfig(**SMALL)))
        mixtral = MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=2))
    assert compat.computes_experts_at_once(mixtral)
    mixtral.set_experts_implementation("batched_mm")
    assert mixtral.get_experts_implementation() == {"": "batched_mm"}


def gloo_options():
    options = compat.gloo_options(address="127.0.0.1", timeout=timedelta(seconds=7))
    group = dist.ProcessGroupGloo(dist.HashStore(), 0, 1, options)
    value = torch.ones(2)
    group.broadcast([value]).wait()
    assert (options._timeout, options._threads, len(options._devices)) == (timedelta(seconds=7), 1, 1)


def nccl_options():
    if not dist.is_nccl_available():
        with pytest.raises(AttributeError, match="ProcessGroupNCCL"):
            compat.nccl_options(timeout=timedelta(seconds=7))
        return
    assert compat.nccl_options(timeout=timedelta(seconds=7))._timeout == timedelta(seconds=7)


def sparse_shape_limits():
    half = compat.sparse_shape_limits(torch.float16)
    assert len(half) == len(SparseSemiStructuredTensor.__subclasses__()) > 0
    assert all(rows > 1 and columns > 1 for rows, columns in half)
    assert not compat.sparse_shape_limits(torch.float64)


def store():
    class Table(compat.Store):
        def __init__(self):
            super().__init__()
            self.held = {}

        def set(self, key, value):
            self.held[key] = value

    table = Table()
    compat.PrefixStore("group", table).set("key", b"value")
    assert table.held == {"group/key": b"value"}
    assert (dist.Store, dist.PrefixStore) == (compat.Store, compat.PrefixStore)


def tree_leaves():
    assert compat.tree_leaves(({"a": 1}, [2, (3,)])) == [1, 2, 3]


CHECKS = {
    "ATTENTION_ON_CPU": attention_on_cpu,
    "CAST": cast,
    "FAKE_TENSOR_LOGGER": fake_tensor_logger,
    "GROUPED_PRODUCT": grouped_product,
    "RESHAPE": reshape,
    "FakeTensorMode": fake_tensor_mode,
    "PrefixStore": store,
    "Store": store,
    "TorchDispatchMode": dispatch_mode,
    "computes_experts_at_once": computes_experts_at_once,
    "empty_module": empty_module,
    "gloo_options": gloo_options,
    "nccl_options": nccl_options,
    "sparse_shape_limits": sparse_shape_limits,
    "storage_id": storage_id,
    "tree_leaves": tree_leaves,
    "writes_to": writes_to,
}


@pytest.mark.parametrize("name", compat.__all__)
def test_a_private_part_does_what_nmlab_takes_it_for(name):
    CHECKS[name]()


def test_every_private_part_says_why_and_in_which_version():
    text = Path(compat.__file__).read_text("utf-8")
    entries = re.split(r"\n\n+(?=#|[A-Z_]+, |[A-Z_]+ = |def )", text.partition("__all__")[2])
    found = [entry for entry in entries if "Instead: " in entry and re.search(r"Seen: \w+ \d+\.\d+", entry)]
    assert {name for name in compat.__all__ if not any(name in entry.splitlines()[0] for entry in found)} == set()
    assert set(compat.__all__) == set(CHECKS)
