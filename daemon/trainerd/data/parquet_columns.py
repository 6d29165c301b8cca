"""How Arrow's columns become arrays of samples, and which columns can.

Parquet has no shapes: a column of numbers or of flat lists takes any declared shape with as many elements. Nested lists
and tensors have a shape, which must be the declared one. A null is refused wherever it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trainerd.contracts.errors import Finding
from trainerd.data.data_file import missing_key, nearest, show_shape
from trainerd.data.source import FieldSchema


class BadRow(Exception):
    """A row, counted from the start of the column that was decoded, cannot be a sample; `why` says so."""

    def __init__(self, why: str, row: int) -> None:
        super().__init__(f"row {row}: {why}")
        self.why = why
        self.row = row


def find_column_contradictions(schema: pa.Schema, path: str, field: FieldSchema) -> list[Finding]:
    """Everything in the metadata of the column of `field` that is not as the field declares."""
    if field.key is None:
        return [missing_key(field, path, "column")]
    named = schema.names.count(field.key)
    if named != 1:
        message = "there is no such column" if named == 0 else f"{named} columns have this name"
        suggestion = nearest(field.key, schema.names) if named == 0 else None
        return [field.finding(message, path, "key", found=field.key, suggestion=suggestion)]
    return list(_contradictions(schema.field(field.key).type, path, field))


def decode_column(column: pa.ChunkedArray, field: FieldSchema) -> NDArray[Any]:
    """The rows of a column that has no contradictions, (rows, *field.shape). Raises BadRow for the first bad one."""
    parts = []
    rows_before = 0
    for chunk in column.chunks:
        try:
            parts.append(_decode_chunk(chunk, field))
        except BadRow as error:
            raise BadRow(error.why, rows_before + error.row) from error
        rows_before += len(chunk)
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def decode_marks(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """For each row whether its number is nonzero. Raises BadRow for a null or for anything but numbers."""
    dtype = _element_dtype(column.type)
    if dtype is None:
        raise BadRow(f"expected a column of numbers, found {column.type}", 0)
    values = column.combine_chunks()
    _refuse_nulls(values, elements_per_row=1)
    return np.asarray(values.to_numpy(zero_copy_only=False) != 0, np.bool_)


def _contradictions(column_type: pa.DataType, path: str, field: FieldSchema) -> Iterator[Finding]:
    lengths, element_type = _take_apart(column_type)
    dtype = _element_dtype(element_type)
    if dtype != field.dtype_name:
        message = f"the dtype of {field.key} is another one"
        yield field.finding(message, path, "dtype", expected=field.dtype_name, found=dtype or str(element_type))
    expected, found = show_shape(field.shape), _show_lengths(column_type, lengths)
    if _level_lengths(column_type, field.shape) is None:
        message = f"the samples of {field.key} have another shape"
        yield field.finding(message, path, "shape", expected=f"shape {expected}", found=found)


def _take_apart(column_type: pa.DataType) -> tuple[list[int | None], pa.DataType]:
    """The length of each level of lists, outermost first (None: each list has its own), and what the elements are."""
    lengths: list[int | None] = []
    while True:
        if isinstance(column_type, pa.FixedShapeTensorType):
            column_type = column_type.storage_type
        elif pa.types.is_fixed_size_list(column_type):
            lengths.append(column_type.list_size)
            column_type = column_type.value_type
        elif pa.types.is_list(column_type) or pa.types.is_large_list(column_type):
            lengths.append(None)
            column_type = column_type.value_type
        else:
            return lengths, column_type


def _level_lengths(column_type: pa.DataType, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The length that each level of lists must have to hold samples of `shape`; None if the column cannot hold them."""
    lengths, _ = _take_apart(column_type)
    if isinstance(column_type, pa.FixedShapeTensorType):
        is_permuted = list(column_type.permutation or []) not in ([], sorted(column_type.permutation or []))
        return (math.prod(shape),) if tuple(column_type.shape) == shape and not is_permuted else None
    if len(lengths) <= 1:
        wanted = (math.prod(shape),) if lengths else ()
        fits = math.prod(shape) == 1 if not lengths else lengths[0] in (None, math.prod(shape))
        return wanted if fits else None
    fits = len(lengths) == len(shape) and all(
        length in (None, extent) for length, extent in zip(lengths, shape, strict=True)
    )
    return shape if fits else None


def _show_lengths(column_type: pa.DataType, lengths: list[int | None]) -> str:
    if isinstance(column_type, pa.FixedShapeTensorType):
        order = f", permuted by {list(column_type.permutation)}" if column_type.permutation else ""
        return f"{show_shape(tuple(column_type.shape))}{order}"
    return str(["any" if length is None else length for length in lengths]).replace("'", "")


def _element_dtype(element_type: pa.DataType) -> str | None:
    """The dtype's name, or None for anything but numbers and booleans."""
    is_number = (
        pa.types.is_integer(element_type) or pa.types.is_floating(element_type) or pa.types.is_boolean(element_type)
    )
    return np.dtype(element_type.to_pandas_dtype()).name if is_number else None


def _decode_chunk(chunk: pa.Array, field: FieldSchema) -> NDArray[Any]:
    lengths = _level_lengths(chunk.type, field.shape)
    assert lengths is not None, "the column was checked when the file was opened"
    values, elements_per_row = chunk, 1
    for length in lengths:
        values = values.storage if isinstance(values, pa.ExtensionArray) else values
        _refuse_nulls(values, elements_per_row)
        _refuse_other_lengths(values, length, elements_per_row)
        values, elements_per_row = values.flatten(), elements_per_row * length
    _refuse_nulls(values, elements_per_row)
    decoded: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return decoded.reshape(len(chunk), *field.shape)


def _refuse_nulls(values: pa.Array, elements_per_row: int) -> None:
    if values.null_count:
        first = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise BadRow("expected a value, found null", first // elements_per_row)


def _refuse_other_lengths(lists: pa.Array, length: int, elements_per_row: int) -> None:
    """Every list must have `length` elements; those of a fixed-size type do."""
    if pa.types.is_fixed_size_list(lists.type):
        return
    lengths = pc.list_value_length(lists).to_numpy()
    others = np.flatnonzero(lengths != length)
    if others.size:
        raise BadRow(
            f"expected a list of {length} elements, found {lengths[others[0]]}", int(others[0]) // elements_per_row
        )
