"""The check of values at admission: all of a small data set, a few samples of a large one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainerd.contracts.errors import DataError, Finding
from trainerd.contracts.spec import Data
from trainerd.data.source import FieldSchema, Source
from trainerd.data.values import find_forbidden

CHECKED_WHOLE_BYTES = 64 << 20  # decoded; a second or two of admission at most
_SAMPLES_OF_LARGE = 64
_SEED = 0  # fixed: checking the same file twice looks at the same samples
_READ_BYTES = 4 << 20


def check_values(source: Source, data: Data) -> list[Finding]:
    """What in the values of `source` contradicts `data`: for each field the first sample that cannot be read, is out of
    range or is not finite.

    Looks at everything up to 64 MiB, else at the first, the last and 64 seeded samples; the others are checked when
    they are read.
    """
    indices = _chosen(len(source), source.sample_bytes)
    fields = (FieldSchema.of("inputs", data.inputs), FieldSchema.of("targets", data.targets))
    findings = (_first_problem(source, field, indices) for field in fields)
    return [finding for finding in findings if finding]


def _chosen(count: int, sample_bytes: int) -> NDArray[np.int64]:
    if count * sample_bytes <= CHECKED_WHOLE_BYTES or count <= _SAMPLES_OF_LARGE:
        return np.arange(count)
    generator = np.random.Generator(np.random.Philox(key=np.array([_SEED, count], np.uint64)))
    return np.unique(np.concatenate([[0, count - 1], generator.integers(0, count, _SAMPLES_OF_LARGE)]))


def _first_problem(source: Source, field: FieldSchema, indices: NDArray[np.int64]) -> Finding | None:
    samples_at_once = max(1, _READ_BYTES // field.sample_bytes)
    for start in range(0, len(indices), samples_at_once):
        finding = _problem_in(source, field, indices[start : start + samples_at_once])
        if finding:
            return finding
    return None


def _problem_in(source: Source, field: FieldSchema, indices: NDArray[np.int64]) -> Finding | None:
    try:
        values = source.read(field, indices)
    except DataError as error:
        return field.finding(error.message, source.file, row=error.row)
    forbidden = find_forbidden(values, field.range, finite=field.finite)
    if forbidden is None:
        return None
    message = f"a value of {field.key or 'the samples'} is not allowed"
    finding = field.finding(message, source.file, expected=forbidden.expected, found=forbidden.found)
    return replace(finding, row=int(indices[forbidden.position]))
