"""Random numbers as a function of what they are for: no generator, no state, the same in every order of asking.

All arrays are uint64, and arithmetic wraps around (numpy does that in silence for arrays, not for scalars).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(words: Words) -> Words:
    """A bijection of 64-bit words in which every input bit changes about half of the output bits.

    The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
    """
    mixed = words ^ (words >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def random_words(key: Words, counters: Words) -> Words:
    """One random word for each pair of `key` and `counter`, which are broadcast against each other."""
    return mix(key + (counters + np.uint64(1)) * _GOLDEN)


def derive_key(*parts: int) -> Words:
    """One key, (1,), from whole numbers of at most 64 bits: other parts, or another order of them, another key."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = random_words(key, np.array([part], np.uint64))
    return key


def to_unit_interval(words: Words) -> NDArray[np.float64]:
    """Each word as a float64 in [0, 1), of its upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
