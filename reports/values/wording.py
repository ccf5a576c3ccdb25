"""Wording that several sentences share."""


def counted(number: int, *, noun: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
