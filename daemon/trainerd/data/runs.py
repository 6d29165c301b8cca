"""Rows that follow each other are read at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def consecutive_runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(start, stop) of each run of consecutive numbers in `rows`, which ascend without repetition."""
    if not len(rows):
        return
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    first, last = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(rows)]]) - 1
    yield from zip(rows[first].tolist(), (rows[last] + 1).tolist(), strict=True)
