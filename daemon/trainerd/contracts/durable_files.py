"""Small files that are whole or absent, also after a power cut: write aside, fsync, rename, fsync the directory."""

from __future__ import annotations

import os
from pathlib import Path

from trainerd.contracts.json_lines import write_all


def replace_durably(path: Path, text: str) -> None:
    """Put `text` in the place of whatever `path` held: readers see the old file or this one.

    Raises OSError, and then `path` is as it was; where only the last sync failed, a power cut may lose the new file.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        _write_and_sync(aside, text.encode())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)  # never synced again: the kernel may have dropped its pages (fsync(2))
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_and_sync(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
