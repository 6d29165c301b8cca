"""The check of values at admission, and what it calls forbidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from trainerd.contracts.spec import Hdf5Data, SampleField
from trainerd.data import check, check_values, open_source
from trainerd.data.values import find_forbidden


def write(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = x, y
    return path


def declare(path: Path, **checks: Any) -> Hdf5Data:
    field = {"shape": [4], **checks}
    x, y = SampleField(key="x", **field), SampleField(key="y", **field)
    return Hdf5Data(kind="hdf5", path=str(path), inputs=x, targets=y, batch_size=4)


def test_values_as_declared_give_no_finding(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(100, 4)
    data = declare(write(tmp_path / "data.h5", values, values), range=(0, 1))

    assert check_values(open_source(data), data) == []


def test_each_field_names_its_first_bad_row(tmp_path: Path) -> None:
    """The field, what was expected, what was found, and where."""
    x, y = np.zeros((100, 4), np.float32), np.zeros((100, 4), np.float32)
    x[[40, 41], 2] = 1.5
    y[99, 0] = np.nan
    path = write(tmp_path / "data.h5", x, y)
    data = declare(path, range=(0, 1))

    of_inputs, of_targets = check_values(open_source(data), data)

    assert (of_inputs.key, of_inputs.row, of_inputs.expected, of_inputs.found) == (
        "data.inputs",
        40,
        "values in [0, 1]",
        "1.5",
    )
    assert (of_targets.key, of_targets.row, of_targets.expected, of_targets.found) == (
        "data.targets",
        99,
        "finite values",
        "nan",
    )
    assert str(of_inputs) == (
        f"{path}: data.inputs: row 40: a value of x is not allowed (expected values in [0, 1], found 1.5)"
    )


def test_a_large_file_is_checked_at_both_ends_and_at_seeded_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first and the last sample always; a bad half is found, and the same samples are looked at every time."""
    monkeypatch.setattr(check, "CHECKED_WHOLE_BYTES", 0)
    good = np.zeros((1000, 4), np.float32)
    first, last, half = good.copy(), good.copy(), good.copy()
    first[0], last[999], half[1:-1:2] = np.inf, np.inf, np.inf

    rows = []
    for number, values in enumerate((first, last, half, half)):
        data = declare(write(tmp_path / f"{number}.h5", values, good))
        (finding,) = check_values(open_source(data), data)
        rows.append(finding.row)

    assert rows[:2] == [0, 999]
    assert rows[2] == rows[3]
    assert 0 < rows[2] < 999


@pytest.mark.parametrize(
    ("values", "allowed", "finite", "position", "expected"),
    [
        (np.array([0.0, 1.0]), (0, 1), True, None, ""),
        (np.array([0.0, np.nan]), None, True, 1, "finite values"),
        (np.array([0.0, np.nan]), None, False, None, ""),
        (np.array([0.0, np.nan, 2.0]), (0, 1), False, 2, "values in [0, 1]"),
        (np.array([np.inf, 0.0]), (0, 1), False, 0, "finite values"),
        (np.array([[0.0, 0.5], [0.5, -0.1]], np.float16), (0, 1), True, 1, "values in [0, 1]"),
        (np.array([0.1, 0.7], np.float32), (0.1, 0.7), True, None, ""),
        (np.array([0, 9, 10], np.int64), (0, 9), True, 2, "values in [0, 9]"),
        (np.array([False, True]), (0, 0), True, 1, "values in [0, 0]"),
        (np.zeros((0, 3)), (0, 1), True, None, ""),
    ],
)
def test_what_a_field_forbids(
    values: np.ndarray, allowed: tuple[float, float] | None, finite: bool, position: int | None, expected: str
) -> None:
    """Both ends of a range belong to it, in the precision of the stored values; NaN is judged by `finite` alone."""
    forbidden = find_forbidden(values, allowed, finite=finite)

    assert (forbidden.position if forbidden else None) == position
    assert (forbidden.expected if forbidden else "") == expected
