"""TensorBoard's event file, written from metrics.jsonl: one curve across restarts, no point twice, none missing.

One file per run. Each metric line is one event, and the last whole event says how far the file has come; a torn one
(the trainer died in mid-write) is cut, as in every append-only file of ours. Framing of the records:
https://www.tensorflow.org/tutorials/load_data/tfrecord (length, its masked CRC-32C, data, its masked CRC-32C).
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from trainerd.contracts.json_lines import MakeRoom, read_lines, read_lines_backwards, write_all

_FILE_NAME = "events.out.tfevents.0000000000.trainerd"
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_NOT_CURVES = frozenset({"time", "step", "epoch", "split"})


class TensorBoardLog:
    """Follows a run's metrics.jsonl into its event file. Call `catch_up` now and then, never in every step."""

    def __init__(self, directory: Path, metrics: Path, make_room: MakeRoom | None = None) -> None:
        """`make_room`: see JsonLinesWriter."""
        self._make_room = make_room
        directory.mkdir(exist_ok=True)
        self._metrics = metrics
        self._fd = os.open(directory / _FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        last = _cut_and_read_last(self._fd)
        offset = _offset_behind(metrics, last) if last is not None else None
        if offset is None:  # a new file, or one that says what metrics.jsonl does not: it is derived, so made anew
            os.ftruncate(self._fd, 0)
            write_all(self._fd, _framed(Event(wall_time=0.0, file_version="brain.Event:2")))
        self._offset = offset or 0

    def catch_up(self) -> None:
        """Write the events of all metric lines that have come since. Raises OSError if the disk refuses."""
        while True:
            lines, offset = read_lines(self._metrics, self._offset)
            if offset == self._offset:
                return
            write_all(self._fd, b"".join(_framed(_event(line)) for line in lines), self._make_room)
            self._offset = offset

    def close(self) -> None:
        os.close(self._fd)


def _event(line: dict[str, Any]) -> Any:
    values = [
        Summary.Value(tag=f"{line['split']}/{key}", simple_value=value)
        for key, value in line.items()
        if key not in _NOT_CURVES and isinstance(value, int | float)
    ]
    wall_time = datetime.fromisoformat(line["time"]).timestamp()
    return Event(wall_time=wall_time, step=line["step"], summary=Summary(value=values))


def _framed(event: Any) -> bytes:
    data: bytes = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + _FOOTER.pack(masked_crc32c(length)) + data + _FOOTER.pack(masked_crc32c(data))


def _cut_and_read_last(fd: int) -> Any:
    """The last whole event, after cutting a torn one off the end; None if there is none, or its checksum is wrong."""
    size = os.fstat(fd).st_size
    if not size:
        return None
    end, last = 0, None
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as data:
        for start, length in _whole_records(data, size):
            end, last = start + length + _FOOTER.size, (start, length)
        event = _checked_event(data, *last) if last else None
    os.ftruncate(fd, end)
    return event


def _whole_records(data: mmap.mmap, size: int) -> Iterable[tuple[int, int]]:
    """(start, length) of the data of each whole record, hopping from header to header."""
    position = 0
    while position + _HEADER.size <= size:
        length = _HEADER.unpack_from(data, position)[0]
        start = position + _HEADER.size
        if start + length + _FOOTER.size > size:
            return
        yield start, length
        position = start + length + _FOOTER.size


def _checked_event(data: mmap.mmap, start: int, length: int) -> Any:
    content = data[start : start + length]
    checksum = _FOOTER.unpack_from(data, start + length)[0]
    return Event.FromString(content) if length and checksum == masked_crc32c(content) else None


def _offset_behind(metrics: Path, last: Any) -> int | None:
    """The byte offset in metrics.jsonl behind the line that became the event `last`; None if it is not there."""
    if not last.summary.value:
        return 0  # the first event of a file names its version only
    split = last.summary.value[0].tag.partition("/")[0]
    for line, end in read_lines_backwards(metrics):
        if (line["step"], line["split"]) == (last.step, split):
            return end
    return None
