"""Keeps a run's log from growing without limit: what is too much is moved to log.1, and the log goes on at its start.

The worker host calls this for each living trainer, about once a second. Whoever has the log open writes on undisturbed:
the file stays the same one, and everybody appends to it (O_APPEND).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from trainerd.contracts.journal import now
from trainerd.contracts.run_directory import RunDirectory

LIMIT_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20


def limit_log(directory: RunDirectory, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Cut the log where it is larger than `limit_bytes`; whether it was. A line in it says what has become of the rest.

    Its last `limit_bytes` take the place of log.1; what was there, and what came before them, is dropped. Where there
    is no room for them they are dropped too: the log must not fill the disk. Raises OSError where the log cannot be
    cut. Takes the time of one copy within the kernel: some 50 ms.
    """
    try:
        log = os.open(directory.log, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        status = os.fstat(log)
        if not stat.S_ISREG(status.st_mode) or status.st_size <= limit_bytes:
            return False
        kept_bytes, fate = _keep_end(log, status.st_size, limit_bytes, directory.older_log)
        dropped_bytes = os.fstat(log).st_size - kept_bytes  # with what was written meanwhile
        os.ftruncate(log, 0)
        os.write(log, f"{now()} the log was cut: {fate}; {dropped_bytes} bytes were dropped\n".encode())
    finally:
        os.close(log)
    return True


def _keep_end(log: int, size: int, limit_bytes: int, kept: Path) -> tuple[int, str]:
    """Copy the last `limit_bytes` of the log to `kept`: how many are there now, and what has become of them."""
    temporary = kept.with_name(f".{kept.name}.tmp")
    try:
        with open(temporary, "wb", buffering=0) as target:
            _copy(log, size - limit_bytes, target.fileno(), limit_bytes)
        temporary.rename(kept)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return 0, f"its last {limit_bytes} bytes could not be kept in {kept.name} ({error.strerror})"
    return limit_bytes, f"its last {limit_bytes} bytes are in {kept.name}"


def _copy(source: int, offset: int, target: int, count: int) -> None:
    """`count` bytes from `offset` on, without taking them through this process where the file system can do that."""
    end = offset + count
    with suppress(OSError):  # not with this file system, for instance; what else it is shows below
        while offset < end and (copied := os.copy_file_range(source, target, end - offset, offset)):
            offset += copied
    while offset < end and (block := os.pread(source, min(_BLOCK_BYTES, end - offset), offset)):
        offset += os.write(target, block)
