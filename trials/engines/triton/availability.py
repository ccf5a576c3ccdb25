"""Find whether the Triton engine can run here, and the message if it cannot."""

import os
from importlib.util import find_spec

import torch


def interpreting() -> bool:
    """Return whether kernels run in Triton's interpreter, on the CPU: TRITON_INTERPRET=1 when triton is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def unavailable_reason(device: torch.device) -> str | None:
    """Return in one line why the engine cannot run on ``device`` and what to choose instead; None where it can."""
    instead = "choose engine 'linear' or 'event', which need torch alone"
    if find_spec("triton") is None:
        return f"engine 'triton': the package triton is not installed (pip install 'nmlab[gpu]'); {instead}"
    if device.type == "cuda" or (device.type == "cpu" and interpreting()):
        return None
    missing = "" if torch.cuda.is_available() else ", and torch sees none on this machine"
    return f"engine 'triton': the logits are on {device}, expected a CUDA device{missing}; {instead}"
