"""What a source of samples is: two fields, a length, and the values of the samples that one asks for.

A source reads; it keeps nothing beyond its own small caches. Whether samples stay in memory is decided in residence.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainerd.contracts.errors import DataError, Finding
from trainerd.contracts.spec import Dtype, SampleField
from trainerd.data.values import find_forbidden

_TORCH_DTYPES: dict[Dtype, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step: each tensor is (B, *shape of its field), B = `samples`."""

    inputs: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    samples: int


@dataclass(frozen=True)
class FieldSchema:
    """What is declared of one field of every sample; `shape` is without the batch dimension."""

    name: str  # inputs or targets
    key: str | None  # data set or column; None where there is no file
    shape: tuple[int, ...]
    dtype: torch.dtype
    range: tuple[float, float] | None
    finite: bool

    @classmethod
    def of(cls, name: str, declared: SampleField) -> FieldSchema:
        """The schema of the field `name`, as the configuration declares it."""
        return cls(
            name=name,
            key=declared.key,
            shape=tuple(declared.shape),
            dtype=_TORCH_DTYPES[declared.dtype],
            range=declared.range,
            finite=declared.finite,
        )

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype_name)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def sample_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def finding(self, message: str, file: str, aspect: str = "", **details: Any) -> Finding:
        """A problem with this field; `aspect` names the key below it (shape, dtype, key), `details` as in Finding."""
        key = f"data.{self.name}.{aspect}" if aspect else f"data.{self.name}"
        return Finding(message, file=file, key=key, **details)


class Source(ABC):
    """Samples 0 ... len-1 with two fields each. One process and one thread at a time."""

    def __init__(self, file: str, inputs: FieldSchema, targets: FieldSchema) -> None:
        self.file = file  # what messages name; "synthetic" where there is none
        self.inputs = inputs
        self.targets = targets

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, field: FieldSchema, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The stored values of `field`, (len(indices), *field.shape), native byte order, in the order asked for.

        Repeated indices are allowed. Raises DataError (file, key, row) for what cannot be read. Range and finiteness
        are the caller's to judge: `gather` refuses, `check_values` reports.
        """

    @abstractmethod
    def marks(self, key: str) -> NDArray[np.bool_]:
        """For every sample, whether the number under `key` is nonzero. Raises SpecificationRefused without one."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A name for the content: changes with the size, the metadata or 64 fixed blocks of it, never with the time."""

    @abstractmethod
    def close(self) -> None: ...

    @property
    def sample_bytes(self) -> int:
        """Decoded bytes of one sample, both fields."""
        return self.inputs.sample_bytes + self.targets.sample_bytes

    def gather(self, indices: NDArray[np.int64]) -> Batch:
        """The samples `indices` as CPU tensors, in the order asked for.

        Raises DataError (file, key, row) for what cannot be read or holds what its field forbids.
        """
        inputs, targets = (
            torch.from_numpy(self._read_checked(field, indices)) for field in (self.inputs, self.targets)
        )
        return Batch((inputs,), (targets,), len(indices))

    def _read_checked(self, field: FieldSchema, indices: NDArray[np.int64]) -> NDArray[Any]:
        values = self.read(field, indices)
        forbidden = find_forbidden(values, field.range, finite=field.finite)
        if forbidden:
            message = f"expected {forbidden.expected}, found {forbidden.found}"
            raise DataError(message, self.file, field.key or field.name, int(indices[forbidden.position]))
        return values
