"""The smallest valid study, and a builder of studies that differ from it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from nmlab.search_spaces.schema.study import Study

MINIMAL: dict[str, Any] = {
    "name": "small",
    "model": {"source": "builtin:tiny"},
    "data": {
        "calibration": {"source": "builtin:python-docs"},
        "evaluation": {"source": "builtin:python-docs"},
    },
    "pattern": "2:4",
    "method": "maskpro",
}


@pytest.fixture
def minimal() -> dict[str, Any]:
    """Return a fresh copy of the smallest valid study, as read from YAML."""
    return copy.deepcopy(MINIMAL)


@pytest.fixture
def study_of(minimal: dict[str, Any]) -> Callable[..., Study]:
    """Return a builder: the smallest study with some top-level keys changed."""
    return lambda **changes: Study.model_validate({**minimal, **changes})
