"""The order of an epoch: a permutation, sought at any place, repeated by anybody who knows seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainerd.data.hashing import derive_key, mix
from trainerd.data.order import STORED_PERMUTATION_LIMIT, SampleOrder, permute

SEEDS = st.integers(0, 2**63 - 1)
# What this project's first version gave; a change would break every run that is resumed across it.
STORED_REFERENCE = [0, 5, 2, 9, 6, 1, 4, 3, 8, 7]
COMPUTED_REFERENCE = [985527, 395940, 488429, 104740]

LARGE = STORED_PERMUTATION_LIMIT + 12_345


@settings(deadline=None)
@given(seed=SEEDS, count=st.integers(1, 3000), epoch=st.integers(0, 2**40))
def test_every_epoch_visits_every_sample_once(seed: int, count: int, epoch: int) -> None:
    """The stored permutation is a bijection of [0, count)."""
    assert sorted(SampleOrder(seed, count, shuffle=True).indices(epoch, 0, count)) == list(range(count))


@settings(deadline=None)
@given(seed=SEEDS, count=st.integers(1, 3000), epoch=st.integers(0, 2**40))
def test_the_computed_permutation_is_a_bijection_for_every_count(seed: int, count: int, epoch: int) -> None:
    """So is the Feistel permutation with cycle walking, at sizes far from a power of two as well."""
    images = permute(np.arange(count, dtype=np.uint64), count, derive_key(seed, epoch))

    assert sorted(images.tolist()) == list(range(count))


def test_a_large_epoch_visits_every_sample_once() -> None:
    """Above the limit the same promise holds, part by part."""
    order = SampleOrder(3, LARGE, shuffle=True)
    seen = np.zeros(LARGE, bool)
    for start in range(0, LARGE, 1 << 18):
        seen[order.indices(1, start, min(start + (1 << 18), LARGE))] = True

    assert seen.all()


@pytest.mark.parametrize("count", [1000, LARGE])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_seeking_gives_what_reading_from_the_start_gives(count: int, data: st.DataObject) -> None:
    """A fresh order, entered anywhere, continues the epoch as if it had never been left."""
    start = data.draw(st.integers(0, min(count, 5000)))
    stop = data.draw(st.integers(start, min(count, 5000)))
    from_the_start = SampleOrder(11, count, shuffle=True).indices(4, 0, stop)

    assert np.array_equal(SampleOrder(11, count, shuffle=True).indices(4, start, stop), from_the_start[start:])


@pytest.mark.parametrize("count", [1000, LARGE])
def test_seed_and_epoch_both_change_the_order(count: int) -> None:
    """No two epochs, and no two seeds, share an order."""
    orders = [
        tuple(SampleOrder(seed, count, shuffle=True).indices(epoch, 0, 100)) for seed in (0, 1) for epoch in (1, 2)
    ]

    assert len(set(orders)) == 4


def test_going_back_to_an_epoch_repeats_its_order() -> None:
    """The permutation that is kept of the current epoch never leaks into another."""
    order = SampleOrder(5, 100, shuffle=True)
    first = order.indices(1, 0, 100).copy()
    order.indices(2, 0, 100)

    assert np.array_equal(order.indices(1, 0, 100), first)


def test_without_shuffling_samples_come_in_ascending_order() -> None:
    """Validation reads the file from front to back, in every epoch."""
    assert SampleOrder(5, 10, shuffle=False).indices(7, 3, 8).tolist() == [3, 4, 5, 6, 7]


def test_the_order_is_the_one_that_earlier_versions_had() -> None:
    """A run that is resumed after an upgrade goes on in the order in which it began."""
    assert SampleOrder(17, 10, shuffle=True).indices(3, 0, 10).tolist() == STORED_REFERENCE
    assert SampleOrder(17, LARGE, shuffle=True).indices(3, 0, 4).tolist() == COMPUTED_REFERENCE


def test_the_hash_is_splitmix64() -> None:
    """The first outputs of SplitMix64 with seed 1234567 (the reference values of its published C code)."""
    states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    assert mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_large_order_looks_random() -> None:
    """Mean and neighbour correlation of the computed order are those of a shuffle, within five standard deviations."""
    sample = SampleOrder(0, LARGE, shuffle=True).indices(1, 0, 100_000) / LARGE

    assert abs(sample.mean() - 0.5) < 5 * (1 / 12) ** 0.5 / 100_000**0.5
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 5 / 100_000**0.5
