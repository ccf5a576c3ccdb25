"""`onnx`: the graph from tokens to logits, with the zeros in its weights, for TensorRT's sparse tactics.

TensorRT looks for 2:4 itself when an engine is built with ``kSPARSE_WEIGHTS``, and takes a sparse kernel only where
it is faster (https://docs.nvidia.com/deeplearning/tensorrt). The exporter folds transposes, so a weight may lie as
[in, out] under another name; it is found again by its bytes.
"""

import importlib.util
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nmlab.trials.contract.log_levels import at_least
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.export.exporter import Exporter, plain_tree, probe
from nmlab.trials.export.subject import Subject

FILE = "model.onnx"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Onnx(Exporter):
    """Float32 only: onnxruntime's CPU kernels, which verify the file, have no others for all operators."""

    name = "onnx"
    about = "an ONNX graph with N:M weights, checked by onnxruntime on the CPU"
    tolerance = 1e-4

    def unsupported_reason(self, subject: Subject) -> str | None:
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            return f"{', '.join(missing)} not installed: pip install 'nmlab[onnx]'"
        if subject.model.frozen.source.dtype != "float32":
            return (
                f"expected a model in float32, found {subject.model.frozen.source.dtype}; load it with --dtype float32"
            )
        return None

    def write(self, subject: Subject, folder: Path) -> JsonObject:
        graph = _Logits(plain_tree(subject))
        any_size = torch.export.Dim.DYNAMIC
        with warnings.catch_warnings(), at_least(logging.ERROR, "torch.onnx", "onnxscript", "onnx_ir"):
            warnings.simplefilter("ignore")  # of packages that are not there and interfaces that will change
            torch.onnx.export(
                graph.eval(),
                (probe(subject).cpu(),),
                folder / FILE,
                dynamo=True,
                verbose=False,
                input_names=["input_ids"],
                output_names=["logits"],
                dynamic_shapes={"input_ids": {0: any_size, 1: any_size}},
            )
        return {"inputs": "input_ids int64 [batch, tokens]", "outputs": "logits float32 [batch, tokens, vocabulary]"}

    def read_weights(self, subject: Subject, folder: Path) -> Mapping[str, Tensor]:
        stored = [torch.from_numpy(array) for array in _matrices(folder / FILE)]
        by_bytes = {_key(matrix): matrix for matrix in stored}
        found = {}
        for name, weight_OI in subject.weights().items():
            for turned in (False, True):
                wanted = ((weight_OI.T if turned else weight_OI) + 0.0).contiguous()
                if (matrix := by_bytes.get(_key(wanted))) is not None:
                    found[name] = matrix.T if turned else matrix
        return found

    def read_logits(self, subject: Subject, folder: Path, tokens_BT: Tensor) -> Tensor:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["logits"], {"input_ids": tokens_BT.cpu().numpy()})[0])


class _Logits(nn.Module):
    """The model as a module from tokens to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, use_cache=False).logits
        return logits


def _matrices(path: Path) -> list[np.ndarray]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = (numpy_helper.to_array(stored) for stored in graph.initializer if len(stored.dims) == 2)
    return [np.array(array) for array in arrays if array.dtype == np.float32]


def _key(matrix: Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(matrix.shape), matrix.cpu().numpy().tobytes()
