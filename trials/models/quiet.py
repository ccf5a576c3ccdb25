"""Silence warnings and log output of libraries whose content nmlab reports itself, in one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

_FAKE = "torch._subclasses.fake_tensor"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Python warnings, what transformers logs below errors, and torch's log of kernels on fake tensors."""
    before, fake = transformers_logging.get_verbosity(), logging.getLogger(_FAKE)
    level = fake.level
    transformers_logging.set_verbosity_error()
    fake.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(before)
        fake.setLevel(level)
