"""The demo's digits: what configs/digits.yaml declares of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from demo.build_digits import build


def test_each_row_is_a_picture_of_8_by_8_between_0_and_1_and_its_digit(tmp_path: Path) -> None:
    build(tmp_path / "digits.parquet")

    table = pyarrow.parquet.read_table(tmp_path / "digits.parquet")
    pixels = table["image"].combine_chunks().flatten().to_numpy()
    assert table.schema.field("image").type == pa.list_(pa.float32(), 64)
    assert table.schema.field("digit").type == pa.int64()
    assert pixels.size == 1797 * 64
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert set(table["digit"].to_pylist()) == set(range(10))


def test_pictures_stand_beside_their_own_digits(tmp_path: Path) -> None:
    """The mean picture of a digit is nearer to most pictures of that digit than any other mean is."""
    table = build(tmp_path / "digits.parquet")

    pictures = table["image"].combine_chunks().flatten().to_numpy().reshape(-1, 64)
    digits = table["digit"].to_numpy()
    means = np.stack([pictures[digits == digit].mean(axis=0) for digit in range(10)])
    nearest = ((pictures[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)

    assert (nearest == digits).mean() > 0.85
