"""Logits of one group, for tests of what the Triton engine draws: its law in NumPy, and its kernels against NumPy."""

import torch

FAMILIES = {
    "flat": lambda m: torch.zeros(m),
    "ramp": lambda m: torch.linspace(2.0, -1.0, m),
    "one leads": lambda m: torch.tensor([4.0, *[0.0] * (m - 1)]),
    "two levels": lambda m: torch.tensor([1.5, 0.0]).repeat(m)[:m],
    "far apart": lambda m: torch.linspace(0.0, 3.0 * m, m),
}
"""Logits [M] of a group of M, by name: most groups deviate from their mode, or a good part of them does."""

RARE = {
    "1:4": [[0.0, 0.0, 8.0, 0.5]],
    "2:4": [[8.0, 8.0, 0.0, 0.0], [8.0, 9.5, 0.5, -1.0], [0.0, 7.0, 14.0, 0.0]],
    "3:5": [[9.0, 0.0, 8.0, 1.0, 9.5]],
    "4:8": [[9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0]],
}
"""Logits by pattern where about one group in a thousand deviates."""
