"""N:M sparsity patterns: N weights kept of every M consecutive ones along the input axis."""

import math
import re
from dataclasses import dataclass
from typing import Self

LARGEST_M = 32
_FORM = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")
_TWO_NUMBERS = re.compile(r"\s*(\d+)\D+(\d+)\s*")


@dataclass(frozen=True, order=True, slots=True)
class Pattern:
    """N weights kept of every M.

    ``n`` counts what is *kept*. Wanda, SparseGPT and their descendants call the number they remove
    ``prune_n``; the two agree for 2:4 and 4:8 but not for 2:8. N = M (nothing is pruned) is allowed.

    Raises:
        ValueError: unless 1 <= n <= m <= 32.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m <= LARGEST_M:
            raise ValueError(_complaint(f"{self.n}:{self.m}"))

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read ``"2:4"``; a `Pattern` is returned as it is.

        Raises:
            ValueError: for anything else, in one line with an example of what is expected.
        """
        if isinstance(text, cls):
            return text
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(_complaint(text))
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def density(self) -> float:
        """Share of weights kept, N/M."""
        return self.n / self.m

    @property
    def mask_count(self) -> int:
        """Number of different masks of one group, the binomial coefficient M over N."""
        return math.comb(self.m, self.n)

    @property
    def chance_overlap(self) -> float:
        """Share of entries on which two independent uniform masks agree: both keep, or both drop.

        0.5 for 2:4 and 0.625 for 2:8; an overlap is worth reporting only beside this number.
        """
        return self.density**2 + (1 - self.density) ** 2

    def groups(self, numel: int) -> int:
        """Number of groups in ``numel`` weights.

        Raises:
            ValueError: if ``numel`` is not a multiple of M.
        """
        if numel % self.m:
            raise ValueError(f"{numel} weights do not split into groups of {self.m} (pattern {self})")
        return numel // self.m


def expected_pattern(given: object) -> str:
    """Return what is expected where this was given, and a guess at what was meant."""
    return f'expected "N:M" with 1 <= N <= M <= {LARGEST_M} (N kept of every M), such as "2:4"{_hint(given)}'


def _complaint(given: object) -> str:
    """Return one line: what was given, what is expected, and the most likely intention."""
    return f"pattern {given!r}: {expected_pattern(given)}"


def base_sixty_hint(given: object) -> str:
    """Return the end of a message about a number that YAML 1.1 read where a pattern was written; "" for any other."""
    if not isinstance(given, int) or not 1 <= given // 60 <= given % 60 <= LARGEST_M:
        return ""
    meant = f"{given // 60}:{given % 60}"
    return f"; YAML 1.1 reads an unquoted {meant} as the number {given}, so write it in quotes"


def _hint(given: object) -> str:
    if isinstance(given, int):
        return base_sixty_hint(given)
    match = _TWO_NUMBERS.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        return ""
    n, m = sorted((int(match[1]), int(match[2])))
    return f'; did you mean "{n}:{m}"?' if n >= 1 and m <= LARGEST_M else ""
