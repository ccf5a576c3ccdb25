"""Texts from files and data sets, cut into windows of tokens."""

from nmlab.trials.data.calibration import read_calibration
from nmlab.trials.data.sources import TextSource, read_documents
from nmlab.trials.data.windows import Windows, calibration_batches, evaluation_windows

__all__ = [
    "TextSource",
    "Windows",
    "calibration_batches",
    "evaluation_windows",
    "read_calibration",
    "read_documents",
]
