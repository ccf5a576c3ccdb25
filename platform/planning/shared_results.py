"""The host memory of the results that a replica keeps for all of its trials: tokens, gradient norms, initial masks."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from nmlab.trials.context.result_cache import CACHE_BYTES
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.models.needs import OF_A_SEED

_TOKEN_BYTES = 8


@dataclass(frozen=True)
class SharedResults:
    """Bytes of a worker's cache: ``most`` it may take at once, ``all_kept`` it would take without a limit."""

    most: int
    all_kept: int


def shared_results(
    trials: Iterable[tuple[TrialSpec, Mapping[str, int]]],
    *,
    held_out_tokens: int,
    seeds: int,
    slots: int,
    budget: int = CACHE_BYTES,
) -> SharedResults:
    """Return the bytes that trials leave in a worker's cache, given what each shares (``Needs.shared``).

    Beyond its budget the cache holds only what running trials use: at worst that of the ``slots`` largest trials.
    """
    kept: dict[Hashable, int] = {"evaluation": _TOKEN_BYTES * held_out_tokens}
    largest = 0
    for spec, shared in trials:
        text = spec.calibration
        mine: dict[Hashable, int] = {("tokens", text): _TOKEN_BYTES * text.samples * text.sequence_length}
        mine |= {(name, text): size for name, size in shared.items()}
        largest = max(largest, sum(mine.values()) + kept["evaluation"])
        kept |= mine
        kept |= {(name, text): seeds * size for name, size in shared.items() if name.endswith(OF_A_SEED)}
    all_kept = sum(kept.values())
    return SharedResults(min(all_kept, budget + slots * largest), all_kept)
