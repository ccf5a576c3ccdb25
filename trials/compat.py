"""Private parts of torch and transformers, all of them: nothing else in nmlab names one.

Every entry says what it is, ``Instead:`` why no public interface does the same, and ``Seen:`` the version in which it
was last found. ``tests/trials/test_trials_compat.py`` uses each of them, so an upgrade that breaks one says which.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.sparse import SparseSemiStructuredTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "ATTENTION_ON_CPU",
    "CAST",
    "FAKE_TENSOR_LOGGER",
    "GROUPED_PRODUCT",
    "RESHAPE",
    "FakeTensorMode",
    "PrefixStore",
    "Store",
    "TorchDispatchMode",
    "computes_experts_at_once",
    "empty_module",
    "gloo_options",
    "nccl_options",
    "sparse_shape_limits",
    "storage_id",
    "tree_leaves",
    "writes_to",
]

# Store, PrefixStore: where the members of a group find each other, and a part of one under names of its own.
# Instead: `torch.distributed` holds both while a program runs, and exports neither to type checkers.
# Seen: torch 2.13

# FakeTensorMode: a context in which tensors have a size and no contents.
# Instead: tensors on the device "meta" have no contents either, but lose which device they stand for, so that a forward
# which mixes devices or reads a property of the CPU fails. torch documents this mode without a public place for it.
# Seen: torch 2.13

# TorchDispatchMode: a context whose method sees every operation of torch, with its tensors.
# Instead: `torch.overrides.TorchFunctionMode` sees calls of Python functions, not what they are made of.
# Seen: torch 2.13

# tree_leaves: the values in nested tuples, lists and dictionaries, and in the output classes of transformers.
# Instead: `torch.utils.pytree`, announced as its public place, is in no version yet.
# Seen: torch 2.13

FAKE_TENSOR_LOGGER = "torch._subclasses.fake_tensor"
"""The logger in which torch says which kernels it could not find for tensors without contents.

Instead: it is the name of a module, and nothing public names it.
Seen: torch 2.13
"""

ATTENTION_ON_CPU = (
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
)
"""The operations of attention on the CPU, forward and backward, which torch's own counter of flops leaves out.

Instead: `torch.nn.functional.scaled_dot_product_attention` is not what a dispatch mode sees.
Seen: torch 2.13
"""

GROUPED_PRODUCT = torch.ops.aten._grouped_mm
"""The operation that multiplies the tokens of every expert by the expert's own matrix.

Instead: `torch.nn.functional.grouped_mm` is not what a dispatch mode sees.
Seen: torch 2.13
"""

CAST, RESHAPE = torch.ops.aten._to_copy, torch.ops.aten._unsafe_view
"""The operations behind ``Tensor.to`` and behind views of fresh results.

Instead: `Tensor.to` and `Tensor.reshape` are not what a dispatch mode sees.
Seen: torch 2.13
"""


def storage_id(storage: torch.UntypedStorage) -> int:
    """Return a number that names a storage as long as it lives, whichever Python object stands for it.

    Instead: ``data_ptr()`` is 0 for storages without contents, and equal for all of them.
    Seen: torch 2.13
    """
    return int(storage._cdata)


def writes_to(tensor: Tensor) -> int:
    """Return how often a tensor was written to in place, so that an equal number means unchanged contents.

    Instead: autograd keeps this count for itself and publishes no other way to read it.
    Seen: torch 2.13
    """
    return int(tensor._version)


def empty_module(module: nn.Module) -> None:
    """Remove a module's submodules, parameters and buffers, and let transformers initialise nothing in it.

    Instead: ``delattr`` needs the names of all of them, and ``named_children`` leaves out one that is there twice;
    transformers has no public mark of a module that needs no initialisation.
    Seen: torch 2.13, transformers 5.23
    """
    for held in (module._modules, module._parameters, module._buffers):
        held.clear()
    module._is_hf_initialized = True  # type: ignore[assignment] # nn.Module declares tensors and modules only


def computes_experts_at_once(model: "PreTrainedModel") -> bool:
    """Return whether ``model.set_experts_implementation`` may be called: it raises for other architectures.

    Instead: the public setter says so only by an error, of no type of its own. Early versions of transformers 5 have
    neither; their models compute one expert after the other.
    Seen: transformers 5.23
    """
    can_set: Callable[[], bool] = getattr(model, "_can_set_experts_implementation", lambda: False)
    return can_set()


def gloo_options(*, address: str, timeout: timedelta) -> Any:
    """Return the options of a gloo group: listen at ``address``, wait up to ``timeout``, use one thread.

    Instead: ``init_process_group`` makes groups with the addresses of all of a machine's interfaces, and makes one
    group for the process, where every slot needs its own.
    Seen: torch 2.13
    """
    options: Any = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=address)]
    options._timeout = timeout
    options._threads = 1
    return options


def nccl_options(*, timeout: timedelta) -> Any:
    """Return the options of an nccl group that waits up to ``timeout``; a build of torch without nccl has none.

    Instead: ``init_process_group`` takes a timeout, and makes one group for the process, where every slot needs its
    own.
    Seen: torch 2.13
    """
    options: Any = dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    return options


def sparse_shape_limits(dtype: torch.dtype) -> Sequence[tuple[int, int]]:
    """Return the rows and columns of which a weight's sides must be multiples, for each 2:4 kernel of this type.

    Instead: ``to_sparse_semi_structured`` raises for a side that does not fit, once it has a GPU.
    Seen: torch 2.13
    """
    kernels: Any = SparseSemiStructuredTensor.__subclasses__()
    tables: list[Mapping[torch.dtype, Any]] = [kernel._DTYPE_SHAPE_CONSTRAINTS for kernel in kernels]
    limits = [table[dtype] for table in tables if dtype in table]
    return [(each.sparse_min_rows, each.sparse_min_cols) for each in limits]
