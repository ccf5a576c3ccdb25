"""The formats, by name."""

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.export.bundle import MaskBundle
from nmlab.trials.export.exporter import Exporter
from nmlab.trials.export.huggingface import HuggingFace
from nmlab.trials.export.onnx_file import Onnx
from nmlab.trials.export.torch_sparse import TorchSparse
from nmlab.trials.models.stored import BITMASK, BITMASK_READERS

_ALL = (MaskBundle(), HuggingFace(), Onnx(), TorchSparse())
_FORMATS: dict[str, Exporter] = {each.name: each for each in _ALL}


def names() -> tuple[str, ...]:
    """Return the names of all formats."""
    return tuple(_FORMATS)


def get(name: str) -> Exporter:
    """Return a format by its name; raises ``ValueError`` with the nearest one."""
    if name == BITMASK:
        raise ValueError(f"format {name!r} is no longer written ({BITMASK_READERS} read it); take 'hf'")
    if name not in _FORMATS:
        raise ValueError(unknown_name(name, kind="format", known=_FORMATS))
    return _FORMATS[name]
