"""Samples in the columns of a Parquet file, one sample a row: scalars, lists and tensors.

Decoding uses the calling thread only: the training loop owns the threads. The page checksums that the writer left are
verified. Columns are decoded a row group at a time; the last ones stay, so neighbouring rows are cheap.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainerd.contracts.errors import DataError, Finding, SpecificationRefused
from trainerd.contracts.spec import ParquetData
from trainerd.data.data_file import nearest, refused_file, require_regular_file
from trainerd.data.fingerprint import fingerprint_file
from trainerd.data.parquet_columns import BadRow, decode_column, decode_marks, find_column_contradictions
from trainerd.data.source import FieldSchema, Source

# Of decoded row groups; the newest one stays even if it alone is larger. As much as a file may have that is held whole.
_CACHE_BYTES = 256 << 20

# pyarrow's own errors derive from these, and it raises OSError for what the file system refuses.
_BROKEN_FILE_ERRORS = (pa.ArrowException, OSError, ValueError)


def open_parquet(data: ParquetData) -> ParquetSource:
    """The source of `data`. Raises SpecificationRefused with everything in the file that contradicts it."""
    inputs, targets = FieldSchema.of("inputs", data.inputs), FieldSchema.of("targets", data.targets)
    file = _open_file(data.path)
    schema = file.schema_arrow
    findings = [
        problem for field in (inputs, targets) for problem in find_column_contradictions(schema, data.path, field)
    ]
    if file.metadata.num_rows == 0:
        findings.append(
            Finding("the file holds no samples", file=data.path, key="data.path", expected="at least 1 row", found="0")
        )
    if findings:
        file.close()
        raise SpecificationRefused(findings)
    return ParquetSource(file, data.path, inputs, targets)


class ParquetSource(Source):
    """Reads rows of two columns that were found to be as declared."""

    def __init__(self, file: pq.ParquetFile, path: str, inputs: FieldSchema, targets: FieldSchema) -> None:
        super().__init__(path, inputs, targets)
        self._file = file
        metadata = file.metadata
        lengths = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        self._ends = np.cumsum(lengths)  # of row groups, in rows of the file
        self._starts = self._ends - lengths
        self._decoded: OrderedDict[tuple[str, int], NDArray[Any]] = OrderedDict()  # oldest use first

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, field: FieldSchema, indices: NDArray[np.int64]) -> NDArray[Any]:
        values = np.empty((len(indices), *field.shape), field.numpy_dtype)
        groups = np.searchsorted(self._ends, indices, side="right")
        for group in np.unique(groups).tolist():
            places = np.flatnonzero(groups == group)
            values[places] = self._decode(field, group)[indices[places] - self._starts[group]]
        return values

    def marks(self, key: str) -> NDArray[np.bool_]:
        try:
            if self._file.schema_arrow.names.count(key) != 1:
                suggestion = nearest(key, self._file.schema_arrow.names)
                raise self._refused_marks("there is no such column", found=key, suggestion=suggestion)
            return decode_marks(self._file.read([key], use_threads=False).column(0))
        except BadRow as error:
            raise self._refused_marks(error.why, found=key, row=error.row) from error
        except _BROKEN_FILE_ERRORS as error:
            raise self._refused_marks(f"cannot be read: {error}", found=key) from error

    def fingerprint(self) -> str:
        schema = self._file.schema_arrow
        described = [
            (field.name, field.key, str(schema.field(field.key).type)) for field in (self.inputs, self.targets)
        ]
        return fingerprint_file(self.file, repr((len(self), described)))

    def close(self) -> None:
        self._file.close()
        self._decoded.clear()

    def _decode(self, field: FieldSchema, group: int) -> NDArray[Any]:
        """All rows of a row group, (rows, *field.shape). Raises DataError."""
        key = (field.name, group)
        if key not in self._decoded:
            self._decoded[key] = self._read_group(field, group)
            while len(self._decoded) > 1 and sum(values.nbytes for values in self._decoded.values()) > _CACHE_BYTES:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        return self._decoded[key]

    def _read_group(self, field: FieldSchema, group: int) -> NDArray[Any]:
        first_row = int(self._starts[group])
        try:
            column = self._file.read_row_group(group, columns=[field.key], use_threads=False).column(0)
            return decode_column(column, field)
        except BadRow as error:
            raise DataError(error.why, self.file, field.key, first_row + error.row) from error
        except _BROKEN_FILE_ERRORS as error:
            last_row = int(self._ends[group]) - 1
            message = f"row group {group} (rows {first_row} to {last_row}) cannot be read: {error}"
            raise DataError(message, self.file, field.key, first_row) from error

    def _refused_marks(self, why: str, **details: Any) -> SpecificationRefused:
        return SpecificationRefused([Finding(why, file=self.file, key="data.split.key", **details)])


def _open_file(path: str) -> pq.ParquetFile:
    require_regular_file(path)
    try:
        return pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
    except _BROKEN_FILE_ERRORS as error:
        raise refused_file(path, f"not a Parquet file, or damaged: {error}") from error
