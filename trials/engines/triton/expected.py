"""The masks that the kernels must draw, computed by NumPy in float64 from the same random numbers.

It decides on every group where the kernels screen most of them, and is written apart from them: what both do is stated
in `kernels.draw` and `kernels.random`. Slow, and meant for checks of a few thousand groups.

Legend: G groups of one layer, M group size.
"""

import numpy as np

from nmlab.trials.engines.triton.kernels.draw import LARGEST_LEAD
from nmlab.trials.engines.triton.kernels.random import GROUP_BLOCK, LANE_BLOCK, SHARE, SHARED_BLOCK

_LOW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)
_ROUND_A, _ROUND_B = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_A, _KEY_B = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


def expected_masks(logits_GM: np.ndarray, mode_GM: np.ndarray, *, bits: int) -> np.ndarray:
    """Return the masks, bool [G, M], that a key draws for a layer.

    Args:
        logits_GM: float64 [G, M].
        mode_GM: bool [G, M], the modal masks: N of M.
        bits: the 128 bits of seed, step, layer and mask index (`randomness.key_bits`).
    """
    group_G, kept = np.arange(len(logits_GM), dtype=np.uint64), int(mode_GM[0].sum())
    lead_GM = logits_GM - np.where(mode_GM, -np.inf, logits_GM).max(1, keepdims=True)
    weight_GM = np.exp(np.minimum(lead_GM, LARGEST_LEAD.value))
    dropped_GM = np.where(mode_GM, 0.0, weight_GM)
    rest_G = dropped_GM.sum(1)
    inverse_GM = np.where(mode_GM, 1.0 / (rest_G[:, None] + weight_GM), 0.0)
    deviates_G, in_time_GM = _absent(
        group_G, weight_GM=weight_GM, inverse_GM=inverse_GM, rest_G=rest_G, mode_GM=mode_GM, bits=bits
    )
    leader_G, _ = _two_uniforms(bits, group_G, GROUP_BLOCK.value + 2)
    _, race_GM = _lane_uniforms(bits, group_G, logits_GM.shape[1])
    leads_GM = np.arange(logits_GM.shape[1]) == _pick(dropped_GM, leader_G)[:, None]
    with np.errstate(divide="ignore"):
        arrival_GM = np.where(in_time_GM, -2.0, np.where(leads_GM, -1.0, -np.log(race_GM) / weight_GM))
    first = np.argsort(arrival_GM, axis=1, kind="stable")[:, :kept]
    drawn_GM = np.zeros_like(mode_GM)
    np.put_along_axis(drawn_GM, first, True, axis=1)
    return np.where(deviates_G[:, None], drawn_GM, mode_GM)


def _absent(
    group_G: np.ndarray,
    *,
    weight_GM: np.ndarray,
    inverse_GM: np.ndarray,
    rest_G: np.ndarray,
    mode_GM: np.ndarray,
    bits: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which groups deviate [G], and which of their kept items come in time [G, M]."""
    lanes = np.arange(weight_GM.shape[1])
    refine_G, pick_G = _two_uniforms(bits, group_G, GROUP_BLOCK.value)
    time_G, level_G = _two_uniforms(bits, group_G, GROUP_BLOCK.value + 1)
    late_GM, _ = _lane_uniforms(bits, group_G, len(lanes))
    look_G = (_first_word(bits, group_G).astype(np.float64) + refine_G) * 2.0**-32
    bound_G = rest_G * inverse_GM.sum(1)
    hot_G = bound_G >= 1.0
    picked_GM = lanes == _pick(inverse_GM, pick_G)[:, None]
    rate_G = rest_G + np.where(hot_G, 0.0, np.where(picked_GM, weight_GM, 0.0).sum(1))
    with np.errstate(over="ignore"):
        absent_GM = np.where(mode_GM, np.exp(-weight_GM * (-np.log(time_G) / rate_G)[:, None]), 0.0)
    level_G = level_G * np.where(hot_G, 1.0, absent_GM.sum(1))
    reached_GM = 1.0 - np.cumprod(1.0 - absent_GM, axis=1)
    first_G = _first(mode_GM & (reached_GM >= level_G[:, None]))
    is_late_GM = (lanes == first_G[:, None]) | ((lanes > first_G[:, None]) & (late_GM < absent_GM))
    return (hot_G | (look_G < bound_G)) & (first_G < len(lanes)), mode_GM & ~is_late_GM


def _first(true_GM: np.ndarray) -> np.ndarray:
    """Return the first position [G] that is true, M where none is."""
    first_G: np.ndarray = np.where(true_GM.any(1), true_GM.argmax(1), true_GM.shape[1])
    return first_G


def _pick(mass_GM: np.ndarray, uniform_G: np.ndarray) -> np.ndarray:
    reached_GM = np.cumsum(mass_GM, axis=1)
    return _first(reached_GM >= uniform_G[:, None] * reached_GM.max(1, keepdims=True))


def _lane_uniforms(bits: int, group_G: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    number_M = LANE_BLOCK.value + np.arange(m, dtype=np.uint64)
    return _two_uniforms(bits, group_G[:, None], number_M)


def _two_uniforms(bits: int, lower: np.ndarray, number: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = _block(bits, lower, number)
    return _uniform(a, b), _uniform(c, d)


def _uniform(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return ((high.astype(np.float64) * 2.0**20 + (low >> np.uint64(12)).astype(np.float64)) + 0.5) * 2.0**-52


def _first_word(bits: int, group_G: np.ndarray) -> np.ndarray:
    share = np.uint64(SHARE.value)
    shared_G = group_G // (np.uint64(4) * share) * share + group_G % share
    words = np.stack(_block(bits, shared_G, SHARED_BLOCK.value))
    word_G: np.ndarray = words[(group_G // share % np.uint64(4)).astype(np.int64), np.arange(len(group_G))]
    return word_G


def _block(bits: int, lower: np.ndarray, number: np.ndarray | int) -> tuple[np.ndarray, ...]:
    """Return the four words of a block of Philox 4x32-10, each in a uint64."""
    key, upper = bits & (2**64 - 1), bits >> 64
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    lower, second = np.broadcast_arrays(lower, np.asarray(number, dtype=np.uint64))
    c0, c1 = lower.astype(np.uint64), second.astype(np.uint64)
    c2, c3 = (np.full_like(c0, half) for half in (upper & 0xFFFFFFFF, upper >> 32))
    for _ in range(_ROUNDS):
        product_a, product_b = _ROUND_A * c0, _ROUND_B * c2
        c0, c1 = (product_b >> _HALF) ^ c1 ^ np.uint64(k0), product_b & _LOW
        c2, c3 = (product_a >> _HALF) ^ c3 ^ np.uint64(k1), product_a & _LOW
        k0, k1 = (k0 + _KEY_A) % 2**32, (k1 + _KEY_B) % 2**32
    return c0, c1, c2, c3
