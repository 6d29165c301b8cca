"""Where the samples of a stream live while it runs: in memory, on the device, or in the file.

Decided once per stream, when its first batch is asked for: an inspector that only looks at metadata pays nothing.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from trainerd.data.source import Source

Indices = NDArray[np.int64]
Fields = tuple[torch.Tensor, torch.Tensor]  # inputs and targets of some samples

# A gather in memory costs microseconds, one from a file milliseconds, so small models need this. Beyond it a sample is
# usually large enough for its step to hide the reading, and several runs and checks must share one machine's memory.
HELD_BYTES_LIMIT = 256 << 20

# Of what is free on the device at the first batch: gradients and activations are still to come, and matter more.
_DEVICE_SHARE = 8

_LOAD_BYTES = 16 << 20  # read at once while loading


class Residence(Protocol):
    """Hands out samples by their position in the stream's own list of samples."""

    def take(self, positions: Indices) -> Fields:
        """The samples at `positions`, in that order, on the stream's device: a copy that the caller may overwrite."""


def settle(source: Source, samples: Indices, device: torch.device) -> Residence:
    """Load `samples` if all decoded samples of `source` fit HELD_BYTES_LIMIT, else leave them in the source.

    Raises DataError for the first sample that cannot be read or is forbidden.
    """
    if len(source) * source.sample_bytes > HELD_BYTES_LIMIT:
        return ReadOnDemand(source, samples, device)
    held = _load(source, samples)
    if _has_room(device, len(samples) * source.sample_bytes):
        held = (held[0].to(device), held[1].to(device))
    return HeldInMemory(held, device)


class HeldInMemory:
    """All samples of the stream, in the process or on the device."""

    def __init__(self, held: Fields, device: torch.device) -> None:
        self._inputs, self._targets = held
        self._device = device

    def take(self, positions: Indices) -> Fields:
        index = torch.from_numpy(positions).to(self._inputs.device)
        # A copy in ascending order too: a model may overwrite its input (ReLU(inplace=True) as its first layer).
        return _moved((self._inputs.index_select(0, index), self._targets.index_select(0, index)), self._device)


class ReadOnDemand:
    """The samples stay in the source; every block is read when it is needed."""

    def __init__(self, source: Source, samples: Indices, device: torch.device) -> None:
        self._source = source
        self._samples = samples
        self._device = device

    def take(self, positions: Indices) -> Fields:
        batch = self._source.gather(self._samples[positions])
        # numpy's memory is aligned to 16 bytes, and differently each time; torch's to 64, as kernels see it elsewhere.
        return _moved((batch.inputs[0].clone(), batch.targets[0].clone()), self._device)


def _load(source: Source, samples: Indices) -> Fields:
    inputs, targets = (
        torch.empty((len(samples), *field.shape), dtype=field.dtype) for field in (source.inputs, source.targets)
    )
    samples_at_once = max(1, _LOAD_BYTES // source.sample_bytes)
    for start in range(0, len(samples), samples_at_once):
        stop = min(start + samples_at_once, len(samples))
        batch = source.gather(samples[start:stop])
        inputs[start:stop] = batch.inputs[0]
        targets[start:stop] = batch.targets[0]
    return inputs, targets


def _has_room(device: torch.device, wanted_bytes: int) -> bool:
    if device.type != "cuda":
        return False
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return wanted_bytes <= free_bytes // _DEVICE_SHARE


def _moved(fields: Fields, device: torch.device) -> Fields:
    """The fields on `device`. From pinned memory the copy overlaps with the host's work; the host allocator keeps the
    pinned block until the device has read it (torch.Tensor.record_stream does the same for device memory).
    """
    inputs, targets = fields
    if inputs.device.type == device.type:
        return fields
    return inputs.pin_memory().to(device, non_blocking=True), targets.pin_memory().to(device, non_blocking=True)
