"""Synthetic samples: sine waves of any shape, a pure function of (seed, index of the sample). No file, nothing stored.

The clean wave of a sample has an amplitude a in [0.5, 1], a phase p, and along each axis d of the input's shape a
frequency f_d in [0.5, 3] cycles over the whole axis (u_d runs from 0 to 1):

    wave = a * sin(2 pi * (f_1 u_1 + ... + f_k u_k) + p)        input = wave + noise, uniform in [-0.3, 0.3]

The target is, in this order:
- of an integer dtype or bool: the class of the sample's frequency along the last axis, cut into equal parts: as many
  classes as the target's range has whole numbers, 10 (0 ... 9) without a range, 2 for bool; the same at every element
  (an input without axes has no frequency: the first class);
- of the input's shape: the clean wave (denoising);
- of any other shape: a smooth function of the input, W tanh(P input) with 8 fixed random projections P, which a small
  network learns to a low error.

Real values are stretched to a declared range. Integer inputs without a range lie in 0 ... 100.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import SyntheticData
from trainerd.data.hashing import Words, derive_key, random_words, to_unit_interval
from trainerd.data.source import FieldSchema, Source

_LOWEST_FREQUENCY, _HIGHEST_FREQUENCY = 0.5, 3.0
_NOISE = 0.3
_REACH = 1.0 + _NOISE  # no noisy value is larger
_PROJECTIONS = 8
_CLASSES = 10
_INTEGER_RANGE = (0.0, 100.0)
_ELEMENTS_AT_ONCE = 1 << 18  # float64 temporaries of 2 MiB

_WAVE, _NOISE_OF_INPUT, _PROJECTION, _WEIGHT = range(4)  # what a random number is for

Reals = NDArray[np.float64]


class SyntheticSource(Source):
    """Computes what is asked for; two reads of one sample are the same bits, alone or among others."""

    def __init__(self, data: SyntheticData) -> None:
        super().__init__("synthetic", FieldSchema.of("inputs", data.inputs), FieldSchema.of("targets", data.targets))
        self._count = data.samples
        self._seed = data.seed
        self._is_denoising = self.inputs.shape == self.targets.shape

    def __len__(self) -> int:
        return self._count

    def read(self, field: FieldSchema, indices: NDArray[np.int64]) -> NDArray[Any]:
        values = np.empty((len(indices), *field.shape), field.numpy_dtype)
        samples_at_once = max(1, _ELEMENTS_AT_ONCE // math.prod(self.inputs.shape))
        for start in range(0, len(indices), samples_at_once):
            part = indices[start : start + samples_at_once].astype(np.uint64)
            compute = self._inputs_of if field.name == "inputs" else self._targets_of
            values[start : start + samples_at_once] = compute(part)
        return values

    def marks(self, key: str) -> NDArray[np.bool_]:
        problem = "synthetic data has no keys: give data.split.val"
        raise SpecificationRefused([Finding(problem, key="data.split.key", found=key)])

    def fingerprint(self) -> str:
        fields = [(field.shape, field.dtype_name, field.range) for field in (self.inputs, self.targets)]
        return f"xxh3:{xxhash.xxh3_128_hexdigest(repr((self._seed, self._count, fields)).encode())}"

    def close(self) -> None:
        """Nothing is held."""

    def _inputs_of(self, samples: Words) -> NDArray[Any]:
        return _fit(self._noisy_waves(samples), self.inputs)

    def _targets_of(self, samples: Words) -> NDArray[Any]:
        if self.targets.dtype_name.startswith(("int", "uint", "bool")):
            return self._classes(samples)
        if self._is_denoising:
            return _fit(self._waves(samples), self.targets)
        return _fit(self._projected(samples), self.targets)

    def _waves(self, samples: Words) -> Reals:
        amplitude, phase, *frequencies = (
            _per_sample(values, self.inputs.shape) for values in self._parameters(samples)
        )
        angle: Reals = phase
        for axis, (length, frequency) in enumerate(zip(self.inputs.shape, frequencies, strict=True)):
            along_axis = [length if other == axis else 1 for other in range(len(frequencies))]
            angle = angle + 2 * np.pi * frequency * (np.arange(length) / length).reshape(along_axis)
        waves: Reals = amplitude * np.sin(angle)
        return waves

    def _noisy_waves(self, samples: Words) -> Reals:
        elements = np.arange(math.prod(self.inputs.shape), dtype=np.uint64)
        keys = random_words(derive_key(self._seed, _NOISE_OF_INPUT), samples)
        noise = _NOISE * (2 * to_unit_interval(random_words(keys[:, None], elements)) - 1)
        return self._waves(samples) + noise.reshape(-1, *self.inputs.shape)

    def _parameters(self, samples: Words) -> list[Reals]:
        """Amplitude, phase, and one frequency for each axis, each (N,)."""
        keys = random_words(derive_key(self._seed, _WAVE), samples)
        numbers = np.arange(2 + len(self.inputs.shape), dtype=np.uint64)
        amplitude, phase, *frequencies = to_unit_interval(random_words(keys, numbers[:, None]))
        spread = _HIGHEST_FREQUENCY - _LOWEST_FREQUENCY
        return [0.5 + amplitude / 2, 2 * np.pi * phase, *(_LOWEST_FREQUENCY + spread * share for share in frequencies)]

    def _projected(self, samples: Words) -> Reals:
        """W tanh(P x), (N, *targets.shape). Row by row, not as a matrix product, whose last bit depends on N."""
        x_NF = self._noisy_waves(samples).reshape(len(samples), -1)
        size = math.prod(self.targets.shape)
        mixed = np.zeros((len(samples), size))
        for number in range(_PROJECTIONS):
            p_F = self._symmetric(_PROJECTION, number, x_NF.shape[1]) * math.sqrt(12 / x_NF.shape[1])
            hidden_N = np.tanh((x_NF * p_F).sum(axis=1))
            mixed += hidden_N[:, None] * self._symmetric(_WEIGHT, number, size)
        return (mixed / math.sqrt(_PROJECTIONS)).reshape(-1, *self.targets.shape)

    def _symmetric(self, purpose: int, number: int, size: int) -> Reals:
        """Fixed random numbers in [-1, 1), the same for all samples."""
        counters = np.arange(size, dtype=np.uint64)
        return 2 * to_unit_interval(random_words(derive_key(self._seed, purpose, number), counters)) - 1

    def _classes(self, samples: Words) -> NDArray[np.int64]:
        low, high = _whole_numbers(self.targets, (0.0, _CLASSES - 1.0))
        frequency = self._parameters(samples)[-1] if self.inputs.shape else np.full(len(samples), _LOWEST_FREQUENCY)
        share = (frequency - _LOWEST_FREQUENCY) / (_HIGHEST_FREQUENCY - _LOWEST_FREQUENCY)
        classes = np.minimum(low + (share * (high - low + 1)).astype(np.int64), high)
        return np.broadcast_to(_per_sample(classes, self.targets.shape), (len(samples), *self.targets.shape))


def _per_sample(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """One value for each sample, (N,), as (N, 1, ..., 1) that broadcasts over samples of `shape`."""
    return values.reshape(-1, *(1 for _ in shape))


def _fit(values: Reals, field: FieldSchema) -> NDArray[Any]:
    """`values` as the field's dtype, stretched to its range if it has one."""
    if field.dtype_name == "bool":
        return values > 0
    is_real = field.dtype_name.startswith("float")
    if is_real and field.range is None:
        return values.astype(field.numpy_dtype)
    share = (np.clip(values / _REACH, -1, 1) + 1) / 2
    if is_real and field.range is not None:
        low, high = field.range
        return np.clip(low + share * (high - low), low, high).astype(field.numpy_dtype)
    first, last = _whole_numbers(field, _INTEGER_RANGE)
    return np.rint(first + share * (last - first)).astype(field.numpy_dtype)


def _whole_numbers(field: FieldSchema, default: tuple[float, float]) -> tuple[int, int]:
    """The first and the last whole number that the field's range and dtype allow."""
    if field.dtype_name == "bool":
        return 0, 1
    limits = np.iinfo(field.numpy_dtype)
    low, high = field.range or default
    return math.ceil(max(low, int(limits.min))), math.floor(min(high, int(limits.max)))
