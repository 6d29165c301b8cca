"""The order in which an epoch visits its samples: a pure function of (seed, epoch), so any position can be sought.

Seeking reads no data and replays nothing. Nothing here knows what a sample is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainerd.data.hashing import Words, derive_key, random_words

# Up to here a stored permutation (8 MiB at most, 16 us for 2048 samples) is cheaper than computing each position.
STORED_PERMUTATION_LIMIT = 1 << 20

# Four rounds make a Feistel network indistinguishable from a random permutation, given random round functions
# (Luby and Rackoff: How to construct pseudorandom permutations from pseudorandom functions, 1988).
_ROUNDS = 4


class SampleOrder:
    """Orders the positions 0 ... count-1, differently in every epoch if `shuffle`, ascending otherwise.

    Every epoch is a permutation. `seed` and `epoch` are whole numbers of at most 64 bits.
    """

    def __init__(self, seed: int, count: int, shuffle: bool) -> None:
        self.seed = seed
        self.count = count
        self.shuffle = shuffle
        self._stored: tuple[int, NDArray[np.int64]] | None = None  # the permutation of one epoch

    def indices(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """The positions at places start ... stop-1 of the epoch, each in [0, count); never to be written to."""
        assert 0 <= start <= stop <= self.count, f"places {start} to {stop} of {self.count}"
        if not self.shuffle:
            return np.arange(start, stop, dtype=np.int64)
        if self.count <= STORED_PERMUTATION_LIMIT:
            return self._permutation(epoch)[start:stop]
        return permute(np.arange(start, stop, dtype=np.uint64), self.count, derive_key(self.seed, epoch)).view(np.int64)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._stored is None or self._stored[0] != epoch:
            generator = np.random.Generator(np.random.Philox(key=np.array([self.seed, epoch], np.uint64)))
            permutation = generator.permutation(self.count)
            self._stored = (epoch, permutation)
        return self._stored[1]


def permute(places: Words, count: int, key: Words) -> Words:
    """The image of each place in [0, count) under the permutation of [0, count) that `key` names.

    A Feistel network permutes the next even power of two, less than 4 * count; an image outside [0, count) is permuted
    again until it falls inside (cycle walking: Black and Rogaway, Ciphers with arbitrary finite domains, 2002).
    """
    half_bits = np.uint64(((count - 1).bit_length() + 1) // 2)
    images = _encrypt(places, half_bits, key)
    outside = np.flatnonzero(images >= count)
    while outside.size:
        walked = _encrypt(images[outside], half_bits, key)
        images[outside] = walked
        outside = outside[walked >= count]
    return images


def _encrypt(words: Words, half_bits: np.uint64, key: Words) -> Words:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = words >> half_bits, words & mask
    for round_number in range(_ROUNDS):
        round_key = random_words(key, np.array([round_number], np.uint64))
        left, right = right, left ^ (random_words(round_key, right) & mask)
    return (left << half_bits) | right
