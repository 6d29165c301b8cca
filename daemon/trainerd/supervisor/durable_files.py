"""Small files that are whole or absent, also after a power cut: write aside, fsync, rename, fsync the directory."""

from __future__ import annotations

import os
from pathlib import Path

from trainerd.contracts.json_lines import write_all
from trainerd.store.database import sync_directory


def write_durably(path: Path, text: str) -> None:
    """Put `text` in the place of whatever `path` held. Raises OSError, and then `path` is as it was."""
    aside = path.with_name(f".{path.name}.tmp")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(aside, path)
    sync_directory(path.parent)
