"""What all that may fail has in common: how long to wait before another try, and how to say in one line what it was."""


def back_off_seconds(failures: int, *, first: float, longest: float = 30.0) -> float:
    """Return how long to wait after so many failures in a row: ``first``, then twice as long each time."""
    return float(min(first * 2 ** min(failures - 1, 30), longest))


def first_line(error: BaseException) -> str:
    """Return what an error says in one line, that of its cause if it has one."""
    text = str(error.__cause__ or error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
