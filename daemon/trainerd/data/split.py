"""Which samples train and which validate. Depends on the data and its own seed only, never on the run's seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import Split
from trainerd.data.source import Source

Indices = NDArray[np.int64]

# The second word of the generator's key: no epoch is as large, so a split never repeats an epoch's order.
_SPLIT_STREAM = 2**64 - 1


def split_samples(source: Source, split: Split | None) -> tuple[Indices, Indices]:
    """(training samples, validation samples), each ascending, together every sample once.

    Without a split everything trains. A fraction of the samples is rounded to the nearest whole number, at least one
    and at most all but one. Raises SpecificationRefused where a side would have no samples.
    """
    if split is None:
        return np.arange(len(source)), np.empty(0, np.int64)
    validates = _mark_validation(source, split)
    training, validation = np.flatnonzero(~validates), np.flatnonzero(validates)
    if not training.size or not validation.size:
        raise SpecificationRefused([_empty_side(source, split, is_training=not training.size)])
    return training, validation


def _mark_validation(source: Source, split: Split) -> NDArray[np.bool_]:
    if split.key is not None:
        return source.marks(split.key)
    assert split.val is not None, "a split has a fraction or a key"
    count = len(source)
    wanted = min(max(math.floor(count * split.val + 0.5), 1), count - 1)  # one sample cannot be split: it trains
    generator = np.random.Generator(np.random.Philox(key=np.array([split.seed, _SPLIT_STREAM], np.uint64)))
    validates = np.zeros(count, np.bool_)
    validates[generator.permutation(count)[:wanted]] = True
    return validates


def _empty_side(source: Source, split: Split, *, is_training: bool) -> Finding:
    """Where a key marks the samples the file is to be mended, else the configuration."""
    side = "training" if is_training else "validation"
    place, file = ("data.split.key", source.file) if split.key is not None else ("data.split.val", None)
    total = f"{len(source)} sample{'s' if len(source) != 1 else ''} in all"
    return Finding(f"the split leaves no {side} samples", file, key=place, expected="at least 1", found=f"0 of {total}")
