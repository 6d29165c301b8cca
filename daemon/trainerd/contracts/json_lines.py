"""Append-only files of JSON lines: one writer at a time, readers that follow while they grow.

A line counts once its newline is there. A torn last line (the writer died in mid-write) is cut by the next writer and
passed over by readers; it is never repaired and never repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from trainerd.contracts.full_disk import is_for_want_of_space

MakeRoom = Callable[[], bool]

_TAIL_BLOCK = 1 << 16


class JsonLinesWriter:
    """The one writer of a file. Each `append` is one write(2): readers see whole lines or a torn last one.

    `make_room` is called where the disk is full, and says whether to try again. Raises OSError where the file cannot be
    opened or written.
    """

    def __init__(self, path: Path, make_room: MakeRoom | None = None) -> None:
        self.path = path
        self._make_room = make_room
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._fd, end_of_last_line(self._fd))

    def append(self, *records: dict[str, Any]) -> None:
        """Append one line each: all of them, or none where the disk takes only a part (and OSError is raised)."""
        if not records:
            return
        end = os.fstat(self._fd).st_size
        try:
            write_all(self._fd, "".join(encode_line(record) for record in records).encode(), self._make_room)
        except OSError:
            os.ftruncate(self._fd, end)  # else the next line would be glued to the piece
            raise

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def encode_line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(", ", ": "), allow_nan=True) + "\n"


def write_all(fd: int, data: bytes, make_room: MakeRoom | None = None) -> None:
    """Write all of `data`, continuing after short writes, and once where `make_room` has mended a full disk."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            if make_room is None or not is_for_want_of_space(error) or not make_room():
                raise
            make_room = None


def end_of_last_line(fd: int) -> int:
    """Byte offset just behind the last newline; 0 where there is none."""
    position = os.fstat(fd).st_size
    while position > 0:
        start = max(0, position - _TAIL_BLOCK)
        newline = os.pread(fd, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0


def read_lines(path: Path, offset: int = 0, limit_bytes: int = 1 << 22) -> tuple[list[dict[str, Any]], int]:
    """The whole lines from byte `offset` on, and the offset behind the last of them.

    Reads about `limit_bytes` at most (more where one line is longer): call again until the offset stands still. A file
    that does not exist reads as empty. A damaged line is named and passed over.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(limit_bytes)
            if b"\n" not in data:
                data += file.readline()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(_decode(data[:end].splitlines(), path, offset)), offset + end


def _decode(lines: Iterable[bytes], path: Path, offset: int) -> Iterator[dict[str, Any]]:
    for line in lines:
        record = _record(line, path, offset)
        if record is not None:
            yield record
        offset += len(line) + 1


def read_lines_backwards(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole lines of a file, last one first, each with the byte offset behind it. A missing file reads as empty.

    Reads blocks from the end, so finding something recent is cheap however long the file is. Damaged lines are named
    and passed over.
    """
    for line, end in raw_lines_backwards(path):
        record = _record(line, path, end - len(line))
        if record is not None:
            yield record, end


def _record(line: bytes, path: Path, offset: int) -> dict[str, Any] | None:
    """What a whole line holds; None where it is damaged, as a power cut may leave it: nothing else is lost by that."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if isinstance(record, dict):
        return record
    import logging  # not above: trainctl reads such files too, and its start is waited for

    logging.getLogger(__name__).warning(
        "%s: the line at byte %d is damaged and passed over: %r", path, offset, line[:80]
    )
    return None


def raw_lines_backwards(path: Path) -> Iterator[tuple[bytes, int]]:
    """The same, the lines as they stand in the file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        position = end = end_of_last_line(fd)
        carried = b""
        while position > 0:
            start = max(0, position - _TAIL_BLOCK)
            lines = (os.pread(fd, position - start, start) + carried).splitlines(keepends=True)
            carried = lines.pop(0) if start else b""  # may be the rest of a line that begins before `start`
            for line in reversed(lines):
                yield line, end
                end -= len(line)
            position = start
    finally:
        os.close(fd)
