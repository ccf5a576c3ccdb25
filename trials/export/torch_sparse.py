"""`torch-sparse`: PyTorch's own 2:4 kernels, for those layers that they make faster on the GPU at hand.

``to_sparse_semi_structured`` is a prototype of PyTorch and loses against the dense product for many shapes, small
batches above all (https://github.com/pytorch/pytorch/issues/111339). So every shape is timed first, and a layer is
converted only where it wins. The folder is an ``hf`` export with the verdicts; ``load`` makes the accelerated model.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.sparse import to_sparse_semi_structured
from transformers import AutoModelForCausalLM, PreTrainedModel

from nmlab.trials.compat import sparse_shape_limits
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.export.exporter import plain_tree
from nmlab.trials.export.huggingface import HuggingFace
from nmlab.trials.export.subject import Subject, linear_of
from nmlab.trials.models.sources import DATA_ONLY

PLAN = "sparse.json"
BATCH = 16  # tokens at once for which layers are timed: a decoding step of sixteen sequences
_LEAST_GAIN = 1.05
_CAPABILITY = (8, 0)
_DTYPES = ("float16", "bfloat16")


@dataclass(frozen=True)
class TimedLayer:
    """One layer: milliseconds dense and sparse (None where it was not timed), and why it is sparse or stays dense."""

    layer: str
    sparse: bool
    why: str
    dense_ms: float | None = None
    sparse_ms: float | None = None


Timer = Callable[[Tensor], tuple[float, float]]


class TorchSparse(HuggingFace):
    """For half precision on a CUDA GPU of compute capability 8.0 or newer; layers that do not fit stay dense."""

    name = "torch-sparse"
    about = "a Hugging Face folder with a plan of the layers that PyTorch's 2:4 kernels speed up on this GPU"
    tolerance = 0.25  # of logits in half precision: another order of the same sums

    def unsupported_reason(self, subject: Subject) -> str | None:
        if not torch.cuda.is_available():
            return "PyTorch's 2:4 kernels need a CUDA GPU, and this machine has none"
        if torch.cuda.get_device_capability() < _CAPABILITY:
            return f"{torch.cuda.get_device_name()} is older than compute capability 8.0, which has no 2:4 kernels"
        pattern = subject.sparsity().pattern
        if pattern not in (Pattern(2, 4), Pattern(1, 4), Pattern(1, 2)):
            return f"the kernels are for 2:4, this model follows {pattern or 'no pattern'}"
        if subject.model.frozen.source.dtype not in _DTYPES:
            return f"expected {' or '.join(_DTYPES)}, found {subject.model.frozen.source.dtype}; give --dtype"
        return None

    def write(self, subject: Subject, folder: Path) -> JsonObject:
        facts = super().write(subject, folder)
        verdicts = choose(subject.weights(), timer=time_products)
        machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "batch": BATCH}
        plan = {**machine, "layers": [asdict(verdict) for verdict in verdicts]}
        (folder / PLAN).write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
        return {**facts, **plan}

    def read_logits(self, subject: Subject, folder: Path, tokens_BT: Tensor) -> Tensor:
        logits: Tensor = load(folder)(input_ids=tokens_BT, use_cache=False).logits
        return logits


def load(folder: Path) -> PreTrainedModel:
    """Return the exported model on the GPU with the layers of its plan converted.

    Raises ``ValueError`` for a folder without a plan, or a plan that was made for another GPU or version of PyTorch.
    """
    path = folder / PLAN
    if not path.is_file():
        raise ValueError(f"{folder} holds no {PLAN}; expected a torch-sparse export")
    plan = json.loads(path.read_text(encoding="utf-8"))
    here = (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU", torch.__version__)
    if (plan["gpu"], plan["torch"]) != here:
        raise ValueError(
            f"{folder} was timed on {plan['gpu']} with torch {plan['torch']}, here is {' with torch '.join(here)}"
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True, **DATA_ONLY)
    model = model.to("cuda").eval()
    assert isinstance(model, PreTrainedModel)
    _convert(model, [layer["layer"] for layer in plan["layers"] if layer["sparse"]])
    return model


def accelerated(subject: Subject) -> PreTrainedModel:
    """Return the subject's model with those layers converted that win on this GPU, without writing anything."""
    tree = plain_tree(subject)
    _convert(tree, [verdict.layer for verdict in choose(subject.weights(), timer=time_products) if verdict.sparse])
    return tree


def _convert(tree: nn.Module, layers: Sequence[str]) -> None:
    for name in layers:
        linear = linear_of(tree, name)
        linear.weight = nn.Parameter(to_sparse_semi_structured(linear.weight.detach()), requires_grad=False)


def choose(weights_OI: Mapping[str, Tensor], *, timer: Timer) -> list[TimedLayer]:
    """Decide for every layer whether it is converted; each shape is timed once, because only the shape matters."""
    times: dict[tuple[int, ...], tuple[float, float] | str] = {}
    verdicts = []
    for name, weight_OI in weights_OI.items():
        shape = tuple(weight_OI.shape)
        if shape not in times:
            times[shape] = unsupported_weight_reason(weight_OI) or timer(weight_OI)
        verdicts.append(_verdict(name, times[shape]))
    return verdicts


def unsupported_weight_reason(weight_OI: Tensor) -> str:
    """Return why the kernels do not take a weight of this shape and type, "" where they do."""
    limits = sparse_shape_limits(weight_OI.dtype)
    if not limits:
        return f"no kernel for {weight_OI.dtype}"
    rows, columns = weight_OI.shape
    if any(rows % least_rows == columns % least_columns == 0 for least_rows, least_columns in limits):
        return ""
    return f"no kernel for {rows} by {columns}: the sides are not multiples of what it works on"


def time_products(weight_OI: Tensor) -> tuple[float, float]:
    """Return milliseconds of the dense and of the sparse product with BATCH tokens, medians on this GPU."""
    inputs_BI = torch.randn(BATCH, weight_OI.shape[1], device=weight_OI.device, dtype=weight_OI.dtype)
    return _milliseconds(inputs_BI, weight_OI), _milliseconds(inputs_BI, to_sparse_semi_structured(weight_OI))


def _milliseconds(inputs_BI: Tensor, weight_OI: Tensor, *, repeats: int = 50) -> float:
    times = []
    for repeat in range(repeats + 10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        F.linear(inputs_BI, weight_OI)
        end.record()
        end.synchronize()
        if repeat >= 10:  # the first ones pay for choosing and loading kernels
            times.append(begin.elapsed_time(end))
    return float(statistics.median(times))


def _verdict(name: str, times: tuple[float, float] | str) -> TimedLayer:
    if isinstance(times, str):
        return TimedLayer(name, False, times)
    dense, sparse = times
    gain = dense / sparse
    wins = gain >= _LEAST_GAIN
    why = f"{gain:.2f} times the speed of dense" + ("" if wins else f", less than {_LEAST_GAIN}")
    return TimedLayer(name, wins, why, dense, sparse)
