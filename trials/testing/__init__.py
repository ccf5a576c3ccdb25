"""For authors of methods: the tests that every method must pass, with a small model and text. Needs pytest.

A package that offers a method (see ``nmlab.trials.methods.registry``) checks it with a test file of four lines:

    from nmlab.trials.testing import MethodConformance

    class TestMyMethod(MethodConformance):
        name = "my_method"
"""

import pytest

pytest.register_assert_rewrite("nmlab.trials.testing.conformance")

from nmlab.trials.testing.conformance import KINDS, PATTERNS, MethodConformance  # noqa: E402 (rewritten from here on)
from nmlab.trials.testing.held import held_bytes  # noqa: E402
from nmlab.trials.testing.small import small_replica, small_spec, small_text  # noqa: E402

small_bench = small_replica
"""The earlier name of ``small_replica``, kept for methods of other packages for one release."""

__all__ = [
    "KINDS",
    "PATTERNS",
    "MethodConformance",
    "held_bytes",
    "small_bench",
    "small_replica",
    "small_spec",
    "small_text",
]
