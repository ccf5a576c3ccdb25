"""The study that tests start from: short trials of MaskPro on the built-in model and a few windows of real text."""

from typing import Any

SMALL: dict[str, Any] = {
    "name": "small",
    "model": {"source": "builtin:tiny"},
    "data": {
        "calibration": {"source": "builtin:python-docs", "samples": 4, "sequence_length": 32, "batch_size": 2},
        "evaluation": {"source": "builtin:python-docs", "sequence_length": 32, "windows": 4},
    },
    "pattern": "2:4",
    "method": "maskpro",
    "fixed": {"steps": 4},
    "space": {"alpha": {"grid": [0.9, 0.99]}},
}


def small(**changed: Any) -> dict[str, Any]:
    """Return the small study with other values; those of ``calibration`` and ``evaluation`` are changed one by one."""
    data = {name: {**SMALL["data"][name], **changed.pop(name, {})} for name in ("calibration", "evaluation")}
    return {**SMALL, "data": data, **changed}
