"""Silence warnings and log output of libraries whose content nmlab reports itself, in one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

from nmlab.trials.compat import FAKE_TENSOR_LOGGER
from nmlab.trials.contract.log_levels import at_least


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Python warnings, what transformers logs below errors, and torch's log of kernels on fake tensors."""
    with (
        at_least(logging.ERROR, transformers_logging.get_logger().name),
        at_least(logging.CRITICAL, FAKE_TENSOR_LOGGER),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
