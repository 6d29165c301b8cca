"""A safetensors file as one buffer in memory: the header written once, the tensors as views behind it.

Taking a snapshot is one copy into the views; the buffer is reused and is then the file, byte for byte. (Format:
https://huggingface.co/docs/safetensors: 8 bytes of header length, JSON header, tensors.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from trainerd.training.state_tree import Unsaveable

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT_BYTES = 64  # of the first tensor in the file

Layout = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]


class FileImage:
    """The reusable image of one safetensors file. `hold` copies tensors in; `buffer` is the file."""

    def __init__(self) -> None:
        self._layout: Layout = ()
        self._devices: frozenset[torch.device] = frozenset()  # GPUs that the tensors are on
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._views: list[Tensor] = []

    @property
    def buffer(self) -> memoryview:
        """The whole file; valid until the next `hold`."""
        return self._bytes.numpy().data

    def hold(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy `tensors` (any device, any strides) into the image; the layout is made anew only when it has changed.

        When this returns the copies are done: the next update may change the tensors. Raises Unsaveable for what the
        format has no type for, and for what is no tensor.
        """
        for name, tensor in tensors.items():
            _check_is_saveable(name, tensor)
        # The widest elements first: the format allows no gaps, and this keeps every tensor aligned for its own type.
        ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
        layout = tuple((name, tensor.dtype, tuple(tensor.shape)) for name, tensor in ordered)
        devices = frozenset(tensor.device for tensor in tensors.values() if tensor.is_cuda)
        if (layout, devices) != (self._layout, self._devices) or not self._bytes.numel():
            self._lay_out(layout, devices)
        for view, (_, tensor) in zip(self._views, ordered, strict=True):
            view.copy_(tensor, non_blocking=True)
        for device in devices:  # all copies of a device are under way at once, and waited for once (not measured yet)
            torch.cuda.synchronize(device)

    def _lay_out(self, layout: Layout, devices: frozenset[torch.device]) -> None:
        offset, entries, spans = 0, {}, []
        for name, dtype, shape in layout:
            byte_count = dtype.itemsize * torch.Size(shape).numel()
            entries[name] = {
                "dtype": _DTYPES[dtype],
                "shape": list(shape),
                "data_offsets": [offset, offset + byte_count],
            }
            spans.append((offset, byte_count, dtype, shape))
            offset += byte_count
        header = _padded(json.dumps(entries).encode())
        pinned = bool(devices)  # page-locked memory: a GPU copies into it on its own
        self._bytes = torch.empty(len(header) + offset, dtype=torch.uint8, pin_memory=pinned)
        self._bytes[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        self._views = [
            self._bytes[len(header) + start : len(header) + start + count].view(dtype).view(shape)
            for start, count, dtype, shape in spans
        ]
        self._layout, self._devices = layout, devices


def _check_is_saveable(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise Unsaveable(name, f"{type(tensor).__module__}.{type(tensor).__qualname__}")
    if tensor.dtype not in _DTYPES:
        raise Unsaveable(name, str(tensor.dtype))


def _padded(header: bytes) -> bytes:
    padding = -(8 + len(header)) % _ALIGNMENT_BYTES
    return (len(header) + padding).to_bytes(8, "little") + header + b" " * padding
