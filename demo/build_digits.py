"""Builds a Parquet file from scikit-learn's digits: 1797 handwritten digits, 8 x 8 grey values each.

One row a digit: `image`, a fixed-size list of 64 float32 (shape [1, 8, 8], values 0 to 1), and `digit`, int64.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

BRIGHTEST = 16.0  # the grey values run from 0 to this


def build(path: Path) -> pa.Table:
    """Write the digits to `path`, in one rename; returns the table too."""
    table = read_digits()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    pyarrow.parquet.write_table(table, unfinished)
    os.replace(unfinished, path)
    return table


def read_digits() -> pa.Table:
    """All digits in scikit-learn's order; people's handwritings are mixed in it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images / BRIGHTEST).astype(np.float32)
    pixels = images[0].size
    return pa.table(
        {
            "image": pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), pixels),
            "digit": pa.array(digits.target, pa.int64()),
        }
    )
