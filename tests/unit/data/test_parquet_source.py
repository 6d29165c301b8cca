"""Parquet: what can be read is read exactly, and what cannot be is refused by name, all at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trainerd.contracts.errors import DataError, SpecificationRefused
from trainerd.contracts.spec import ParquetData, SampleField, Split
from trainerd.data import check_values, open_source, parquet, split_samples

ROWS = 23


def declare(path: Path, inputs: dict[str, Any] | None = None, targets: dict[str, Any] | None = None) -> ParquetData:
    x = SampleField(**{"key": "x", "shape": [2, 3], **(inputs or {})})
    y = SampleField(**{"key": "y", "shape": [], "dtype": "int64", **(targets or {})})
    return ParquetData(kind="parquet", path=str(path), inputs=x, targets=y, batch_size=4)


def write(path: Path, x: pa.Array, y: pa.Array | None = None, **options: Any) -> Path:
    y = pa.array(np.arange(len(x))) if y is None else y
    pq.write_table(pa.table({"x": x, "y": y}), path, **{"row_group_size": 7, **options})
    return path


def waves(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, 2, 3), np.float32)


def flat_lists(rows: int = ROWS) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(waves(rows).reshape(-1), 6)


def refusal_of(data: ParquetData) -> SpecificationRefused:
    with pytest.raises(SpecificationRefused) as refusal:
        open_source(data)
    return refusal.value


COLUMNS = {
    "fixed-size list": flat_lists(),
    "nested fixed-size lists": pa.FixedSizeListArray.from_arrays(
        pa.FixedSizeListArray.from_arrays(waves().reshape(-1), 3), 2
    ),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(waves()),
    "list": pa.array([sample.reshape(-1) for sample in waves()]),
    "large list": pa.array([sample.reshape(-1) for sample in waves()], pa.large_list(pa.float32())),
    "nested lists": pa.array(waves().tolist(), pa.list_(pa.list_(pa.float32()))),
}


@pytest.mark.parametrize("storage", COLUMNS)
@pytest.mark.parametrize("options", [{}, {"row_group_size": 1000, "compression": "zstd"}, {"use_dictionary": False}])
def test_every_kind_of_column_gives_the_stored_values(tmp_path: Path, storage: str, options: dict[str, Any]) -> None:
    """In any order, repeated, across row groups."""
    source = open_source(declare(write(tmp_path / "data.parquet", COLUMNS[storage], **options)))
    asked = np.array([22, 0, 5, 6, 7, 7, 1, 22])

    batch = source.gather(asked)

    assert len(source) == ROWS
    assert torch.equal(batch.inputs[0], torch.from_numpy(waves()[asked]))
    assert batch.targets[0].tolist() == asked.tolist()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
@pytest.mark.parametrize(("shape", "stored_shape"), [([], ()), ([1], ()), ([4], (4,)), ([1, 2, 2], (4,))])
def test_every_dtype_is_read_as_stored(
    tmp_path: Path, dtype: str, shape: list[int], stored_shape: tuple[int, ...]
) -> None:
    """A column of scalars or flat lists takes any shape with as many elements: Parquet itself has no shapes."""
    values = (np.random.default_rng(1).random((ROWS, *stored_shape)) * 100 > 50).astype(dtype)
    elements = pa.array(values.reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(elements, 4) if stored_shape else elements

    source = open_source(declare(write(tmp_path / "data.parquet", column), {"shape": shape, "dtype": dtype}))

    inputs = source.gather(np.arange(ROWS)).inputs[0]
    assert str(inputs.dtype) == f"torch.{dtype}"
    assert np.array_equal(inputs.numpy(), values.reshape(ROWS, *shape))


def permuted_tensors() -> pa.Array:
    kind = pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=[1, 0])
    return pa.ExtensionArray.from_storage(kind, flat_lists())


CONTRADICTIONS = [
    (pa.array(np.zeros(9, "f4")), "shape", "expected shape [2, 3], found []"),
    (pa.FixedSizeListArray.from_arrays(np.zeros(45, "f4"), 5), "shape", "expected shape [2, 3], found [5]"),
    (pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((9, 3, 2), "f4")), "shape", "found [3, 2]"),
    (permuted_tensors(), "shape", "found [2, 3], permuted by [1, 0]"),
    (pa.array([[[[1.0]]]], pa.list_(pa.list_(pa.list_(pa.float32())))), "shape", "found [any, any, any]"),
    (pa.FixedSizeListArray.from_arrays(np.zeros(54), 6), "dtype", "expected float32, found float64"),
    (pa.FixedSizeListArray.from_arrays(np.zeros(54, "u4"), 6), "dtype", "expected float32, found uint32"),
    (pa.array([["a"] * 6] * 9), "dtype", "expected float32, found string"),
    (pa.array([{"a": 1.0}] * 9), "dtype", "found struct<a: double>"),
]


@pytest.mark.parametrize(("column", "aspect", "message"), CONTRADICTIONS)
def test_what_contradicts_the_declaration_is_refused_by_name(
    tmp_path: Path, column: pa.Array, aspect: str, message: str
) -> None:
    """The findings name the file, the key of the configuration, what was expected and what was found."""
    path = write(tmp_path / "data.parquet", column)

    findings = {finding.key: finding for finding in refusal_of(declare(path)).findings}

    assert findings[f"data.inputs.{aspect}"].file == str(path)
    assert message in str(findings[f"data.inputs.{aspect}"])


def test_all_contradictions_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", pa.FixedSizeListArray.from_arrays(np.zeros(45), 5))

    findings = refusal_of(declare(path, targets={"key": "yy"})).findings

    assert [finding.key for finding in findings] == ["data.inputs.dtype", "data.inputs.shape", "data.targets.key"]
    assert findings[2].suggestion == "y"


def test_a_key_that_is_missing_or_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_arrays([flat_lists(), flat_lists()], names=["x", "x"]), path)

    findings = refusal_of(declare(path, targets={"key": None})).findings

    assert [finding.message for finding in findings] == ["2 columns have this name", "a key is missing"]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", flat_lists(0))

    (finding,) = refusal_of(declare(path)).findings

    assert finding.message == "the file holds no samples"


def unreadable_files(directory: Path) -> dict[str, Path]:
    whole = write(directory / "whole.parquet", flat_lists()).read_bytes()
    contents = {"empty": b"", "text": b"not Parquet" * 100, "truncated": whole[:-20], "zeroed": bytes(4096)}
    paths = {name: directory / f"{name}.parquet" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    os.mkfifo(directory / "pipe.parquet")
    return {**paths, "absent": directory / "absent.parquet", "directory": directory, "pipe": directory / "pipe.parquet"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "the file is empty"),
        ("text", "not a Parquet file, or damaged"),
        ("zeroed", "not a Parquet file, or damaged"),
        ("truncated", "not a Parquet file, or damaged"),
        ("absent", "No such file or directory"),
        ("directory", "not a regular file"),
        ("pipe", "not a regular file"),
    ],
)
def test_a_file_that_cannot_be_opened_gives_one_clear_finding(tmp_path: Path, name: str, message: str) -> None:
    path = unreadable_files(tmp_path)[name]

    (finding,) = refusal_of(declare(path)).findings

    assert (finding.file, finding.key) == (str(path), "data.path")
    assert message in finding.message


GOOD = [[1.0] * 3] * 2
BAD_ROWS = [
    (pa.array([[1.0] * 6] * 9 + [None], pa.list_(pa.float32(), 6)), "expected a value, found null"),
    (pa.array([[1.0] * 6] * 9 + [[1.0] * 5 + [None]], pa.list_(pa.float32(), 6)), "expected a value, found null"),
    (pa.array([[1.0] * 6] * 9 + [[1.0] * 5], pa.list_(pa.float32())), "expected a list of 6 elements, found 5"),
    (pa.array([[1.0] * 6] * 9 + [None], pa.list_(pa.float32())), "expected a value, found null"),
    (
        pa.array([GOOD] * 9 + [[[1.0] * 3, [1.0] * 4]], pa.list_(pa.list_(pa.float32()))),
        "a list of 3 elements, found 4",
    ),
    (pa.array([GOOD] * 9 + [[[1.0] * 3]], pa.list_(pa.list_(pa.float32()))), "expected a list of 2 elements, found 1"),
]


@pytest.mark.parametrize(("column", "message"), BAD_ROWS)
def test_a_row_that_is_no_sample_is_named(tmp_path: Path, column: pa.Array, message: str) -> None:
    """Nulls and other lengths stand in the data, not in the metadata: admission reports them, reading fails."""
    data = declare(write(tmp_path / "data.parquet", column))
    source = open_source(data)

    (finding,) = check_values(source, data)
    with pytest.raises(DataError) as error:
        source.gather(np.arange(len(source)))

    assert (finding.row, finding.key) == (9, "data.inputs")
    assert message in finding.message
    assert (error.value.row, error.value.key, error.value.file) == (9, "x", data.path)


def test_a_damaged_page_is_named_by_its_row_group(tmp_path: Path) -> None:
    """A flipped byte under a page checksum."""
    path = write(
        tmp_path / "data.parquet", flat_lists(), write_page_checksum=True, compression="none", use_dictionary=False
    )
    content = path.read_bytes()
    place = content.index(waves()[9].tobytes())
    path.write_bytes(content[:place] + b"\x00\x01\x02\x03" + content[place + 4 :])
    source = open_source(declare(path))

    with pytest.raises(DataError) as error:
        source.gather(np.arange(ROWS))

    assert (error.value.key, error.value.row) == ("x", 7)
    assert "row group 1 (rows 7 to 13) cannot be read" in str(error.value)
    assert source.gather(np.arange(7)).samples == 7


def test_row_groups_stay_decoded_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two groups of one field, a third takes the place of the one that was not used for longest."""
    source = open_source(declare(write(tmp_path / "data.parquet", flat_lists(28))))
    monkeypatch.setattr(parquet, "_CACHE_BYTES", 2 * 7 * 24)
    decoded: list[int] = []
    read_group = parquet.ParquetSource._read_group

    def watched_read(self: parquet.ParquetSource, field: Any, group: int) -> Any:
        decoded.append(group)
        return read_group(self, field, group)

    monkeypatch.setattr(parquet.ParquetSource, "_read_group", watched_read)
    for row in (0, 7, 1, 14, 2, 8):
        source.read(source.inputs, np.array([row]))

    assert decoded == [0, 1, 2, 1]


def test_a_column_marks_the_samples_that_validate(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    marks = pa.array([row % 5 == 0 for row in range(ROWS)])
    table = {"x": flat_lists(), "y": pa.array(np.arange(ROWS)), "fold": marks, "gaps": pa.array([1] * 22 + [None])}
    pq.write_table(pa.table(table), path)
    source = open_source(declare(path))

    training, validation = split_samples(source, Split(key="fold"))

    assert validation.tolist() == [0, 5, 10, 15, 20]
    assert len(training) == 18
    for key, message in [("flod", "did you mean fold"), ("gaps", "row 22"), ("x", "expected a column of numbers")]:
        with pytest.raises(SpecificationRefused, match=message):
            split_samples(source, Split(key=key))


def test_the_fingerprint_is_of_the_content_not_of_the_time(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", flat_lists())
    fingerprint = open_source(declare(path)).fingerprint()
    os.utime(path, (0, 0))
    other = write(tmp_path / "other.parquet", flat_lists(), pa.array(np.arange(ROWS) + 1))

    assert open_source(declare(path)).fingerprint() == fingerprint
    assert open_source(declare(other)).fingerprint() != fingerprint
