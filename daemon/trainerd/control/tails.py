"""Whole lines of a file that grows, from any byte on. Keeps nothing between two calls but what the caller remembers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from trainerd.contracts.errors import UsageError
from trainerd.contracts.json_lines import end_of_last_line

_CHUNK_BYTES = 1 << 18
_LOOK_BYTES = 1 << 12  # held several times over for each reader of a stream who does not read


def read_whole_lines(path: Path, offset: int, limit_bytes: int = _LOOK_BYTES) -> bytes:
    """The whole lines from byte `offset` on: about `limit_bytes` at most, more where one line is longer.

    Empty where there is none yet, no file included; a torn last line is left for later.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(limit_bytes)
            if b"\n" not in data:
                data += file.readline()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def read_rest(path: Path, offset: int) -> bytes:
    """All that is behind byte `offset`, a torn last line included."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def split_lines(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """(offset behind the line, the line without its newline) for whole lines that start at byte `offset`."""
    for line in data.split(b"\n")[:-1]:
        offset += len(line) + 1
        yield offset, line


class LogTail:
    """A log as a reader follows it who has seen `offset` bytes; it may be cut meanwhile (see worker.log_rotation).

    Where it was, reading goes on at its start.
    """

    def __init__(self, log: Path, older_log: Path, offset: int) -> None:
        self.older_log = older_log
        self.offset = offset
        self._log = log
        self._generation = self._look()

    def was_cut(self) -> bool:
        """Whether it has been cut since the last look; told once."""
        generation = self._look()
        size_bytes = self._log.stat().st_size if self._log.exists() else 0
        if generation == self._generation and size_bytes >= self.offset:
            return False
        self._generation, self.offset = generation, 0
        return True

    def read_lines(self) -> bytes:
        """The next whole lines, as `read_whole_lines`."""
        data = read_whole_lines(self._log, self.offset)
        self.offset += len(data)
        return data

    def read_rest(self) -> bytes:
        data = read_rest(self._log, self.offset)
        self.offset += len(data)
        return data

    def _look(self) -> tuple[int, int] | None:
        """Each cut leaves another older log."""
        try:
            status = self.older_log.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns


def check_offset(path: Path, offset: int) -> int:
    """`offset`, if the file reaches that far. Raises UsageError: a reader who saw more has seen another file."""
    size_bytes = path.stat().st_size if path.exists() else 0
    if offset > size_bytes:
        raise UsageError(f"Last-Event-ID {offset} lies behind the end of {path.name} ({size_bytes} bytes)")
    return offset


def visible_bytes(path: Path, *, whole_lines: bool) -> int:
    """How much of the file a reader is shown: up to its end, or up to the end of its last whole line."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return end_of_last_line(fd) if whole_lines else os.fstat(fd).st_size
    finally:
        os.close(fd)


async def read_chunks(path: Path, size_bytes: int) -> AsyncIterator[bytes]:
    """The first `size_bytes` of the file, however much it grows meanwhile."""
    if size_bytes == 0:
        return
    with open(path, "rb") as file:
        while size_bytes > 0 and (chunk := file.read(min(size_bytes, _CHUNK_BYTES))):
            size_bytes -= len(chunk)
            yield chunk
