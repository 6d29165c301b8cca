"""Samples in the data sets of an HDF5 file, along their first axis: contiguous, chunked or compressed, of any rank.

Opened read-only and under HDF5's own lock where the file system has one: a file that somebody is still writing is
refused, and nobody can open it for writing while a run reads it.
"""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from trainerd.contracts.errors import DataError, Finding, SpecificationRefused
from trainerd.contracts.spec import Hdf5Data
from trainerd.data.data_file import refused_file, require_regular_file
from trainerd.data.fingerprint import fingerprint_file
from trainerd.data.hdf5_layout import BROKEN_FILE_ERRORS, UnusableKey, find_contradictions, find_data_set
from trainerd.data.runs import consecutive_runs
from trainerd.data.source import FieldSchema, Source

# Rows are read in ascending order, so one chunk at a time has to stay decompressed; HDF5's default is only 1 MiB.
_CHUNK_CACHE_BYTES = 64 << 20


def open_hdf5(data: Hdf5Data) -> Hdf5Source:
    """The source of `data`. Raises SpecificationRefused with everything in the file that contradicts it."""
    inputs, targets = FieldSchema.of("inputs", data.inputs), FieldSchema.of("targets", data.targets)
    file = _open_file(data.path)
    findings = [*find_contradictions(file, data.path, inputs), *find_contradictions(file, data.path, targets)]
    findings = findings or _find_unequal_lengths(file, data.path, inputs, targets)
    if findings:
        file.close()
        raise SpecificationRefused(findings)
    return Hdf5Source(file, data.path, inputs, targets)


class Hdf5Source(Source):
    """Reads rows of two data sets that were found to be as declared."""

    def __init__(self, file: h5py.File, path: str, inputs: FieldSchema, targets: FieldSchema) -> None:
        super().__init__(path, inputs, targets)
        self._file = file
        self._data_sets = {field.name: file[field.key] for field in (inputs, targets)}
        self._descriptor = file.id.get_vfd_handle()  # HDF5's own
        self._size_bytes = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return int(self._data_sets["inputs"].shape[0])

    def read(self, field: FieldSchema, indices: NDArray[np.int64]) -> NDArray[Any]:
        rows, places = np.unique(indices, return_inverse=True)
        values = np.empty((len(rows), *field.shape), field.numpy_dtype)
        position = 0
        for start, stop in consecutive_runs(rows):
            self._read_run(field, start, values[position : position + stop - start])
            position += stop - start
        self._check_size(field, int(rows[0]) if len(rows) else None)
        is_as_asked = np.array_equal(rows, indices)
        return values if is_as_asked else values[places]

    def marks(self, key: str) -> NDArray[np.bool_]:
        try:
            data_set = find_data_set(self._file, key)
            if data_set.shape != (len(self),) or data_set.dtype.kind not in "biuf":
                found = f"shape {list(data_set.shape or ())} of {data_set.dtype}"
                raise self._refused_marks("cannot mark samples", expected=f"{len(self)} numbers", found=found)
            return np.asarray(data_set[()] != 0, np.bool_)
        except UnusableKey as error:
            raise self._refused_marks(str(error), found=key, suggestion=error.suggestion) from error
        except BROKEN_FILE_ERRORS as error:
            raise self._refused_marks(f"cannot be read: {error}", found=key) from error

    def fingerprint(self) -> str:
        described = [(name, data_set.shape, data_set.dtype.str) for name, data_set in self._data_sets.items()]
        return fingerprint_file(self.file, repr(described))

    def close(self) -> None:
        self._file.close()

    def _read_run(self, field: FieldSchema, start: int, values: NDArray[Any]) -> None:
        """Fill `values` with the consecutive rows from `start` on, converted to native byte order by HDF5."""
        data_set = self._data_sets[field.name].id  # h5py's low-level interface: a quarter of read_direct's time
        rows = data_set.get_space()
        rows.select_hyperslab((start, *(0 for _ in field.shape)), values.shape)
        try:
            data_set.read(h5py.h5s.create_simple(values.shape), rows, values)
        except BROKEN_FILE_ERRORS as error:
            if len(values) == 1:
                raise DataError(f"cannot be read: {error}", self.file, field.key, start) from error
            for number in range(len(values)):  # which row is it?
                self._read_run(field, start + number, values[number : number + 1])

    def _check_size(self, field: FieldSchema, row: int | None) -> None:
        """Raises DataError where the file has shrunk: HDF5 reads zeros behind its end, and calls that no error."""
        size_bytes = os.fstat(self._descriptor).st_size
        if size_bytes < self._size_bytes:
            why = f"the file has shrunk from {self._size_bytes} to {size_bytes} bytes while it was read"
            raise DataError(why, self.file, field.key, row)

    def _refused_marks(self, why: str, **details: Any) -> SpecificationRefused:
        return SpecificationRefused([Finding(why, file=self.file, key="data.split.key", **details)])


def _open_file(path: str) -> h5py.File:
    require_regular_file(path)
    try:
        if not h5py.is_hdf5(path):
            raise refused_file(path, "not an HDF5 file, or its beginning is damaged")
        return h5py.File(path, "r", locking="best-effort", rdcc_nbytes=_CHUNK_CACHE_BYTES)
    except BlockingIOError as error:
        raise refused_file(path, "another process has it open for writing") from error
    except PermissionError as error:
        raise refused_file(path, "permission denied") from error
    except BROKEN_FILE_ERRORS as error:
        raise refused_file(path, f"cannot be opened: {error}") from error


def _find_unequal_lengths(file: h5py.File, path: str, inputs: FieldSchema, targets: FieldSchema) -> list[Finding]:
    samples, found = (int(file[field.key].shape[0]) for field in (inputs, targets))
    if samples == found:
        return []
    expected = f"{samples} samples as in {inputs.key}"
    return [
        targets.finding(
            "the fields differ in length", path, "key", expected=expected, found=f"{found} in {targets.key}"
        )
    ]
