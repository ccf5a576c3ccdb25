"""Schedules at their ends, at their corners, and at a point computed by hand."""

import pytest

from nmlab.trials.engines.schedules import cosine_to_a_tenth, geometric, linear, warmup_then_linear


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 0.05**0.5), (1.0, 0.05), (1.3, 0.05), (0.25, 0.05**0.25)]
)
def test_geometric(share, expected):
    assert geometric(1.0, 0.05, share) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 4.0), (0.5, 2.025), (1.0, 0.05), (2.0, 0.05)])
def test_linear(share, expected):
    assert linear(4.0, 0.05, share) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step", "expected"), [(0, 2.0), (50, 1.1), (100, 0.2), (25, 2 * (0.55 + 0.45 * 0.5**0.5))])
def test_cosine_to_a_tenth(step, expected):
    assert cosine_to_a_tenth(2.0, step, steps=100) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (20, [0.0, 0.5, 1.0, 17 / 18, 16 / 18]),
        (15, [0.0, 0.5, 1.0, 12 / 13]),  # a tenth of the steps, rounded up
        (1, [0.0]),
    ],
)
def test_warmup_then_linear(steps, expected):
    rates = [warmup_then_linear(1.0, step, steps=steps, warmup=0.1) for step in range(steps)]
    assert rates[: len(expected)] == pytest.approx(expected)
    assert rates[-1] == pytest.approx(1 / (steps - 2)) if steps > 2 else rates == [0.0]
