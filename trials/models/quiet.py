"""Keep libraries from telling on the terminal what nmlab says itself, in one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

_FAKE = "torch._subclasses.fake_tensor"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, what transformers logs short of errors, and torch's report of a kernel without contents."""
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
