"""How many windows each text of a mixture gives."""

from collections.abc import Sequence
from fractions import Fraction


def window_counts(weights: Sequence[float], *, samples: int) -> tuple[int, ...]:
    """Return the windows of each text of a mixture, ``samples`` in all, in proportion to the weights.

    Shares are rounded by the method of largest remainders (Hamilton), ties to the earlier text, computed in exact
    fractions; a text whose share rounds to none has one window of the text with the most. Trial keys depend on weights
    and samples alone, so this rule is kept.

    Raises:
        ValueError: fewer samples than texts.
    """
    if samples < len(weights):
        raise ValueError(f"{samples} samples of {len(weights)} texts: expected at least one of each")
    exact = [Fraction(weight) for weight in weights]
    shares = [samples * weight / sum(exact) for weight in exact]
    counts = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda place: (counts[place] - shares[place], place))
    for place in order[: samples - sum(counts)]:
        counts[place] += 1
    for place in (place for place, count in enumerate(counts) if not count):
        counts[counts.index(max(counts))] -= 1
        counts[place] = 1
    return tuple(counts)
