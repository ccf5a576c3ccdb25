"""Silence warnings and log output of libraries whose content nmlab reports itself, in one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

from nmlab.trials.compat import FAKE_TENSOR_LOGGER


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Python warnings, what transformers logs below errors, and torch's log of kernels on fake tensors."""
    before, fake = transformers_logging.get_verbosity(), logging.getLogger(FAKE_TENSOR_LOGGER)
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
