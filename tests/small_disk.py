"""A small disk of a test's own, which can be filled to the last byte. Only root can mount one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Its mount point, which lies where every user can get to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        place = Path(folder, "home")
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "none", str(place)]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr}")
        Path(folder).chmod(0o755)
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], check=True)


@contextmanager
def full_disk(disk: Path, free_bytes: int) -> Iterator[None]:
    """The disk is full of one file, but for so many bytes."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for block_bytes in (1 << 20, 1 << 12):  # others write too, so what is free is not known beforehand
            with suppress(OSError):
                while file.write(bytes(block_bytes)) == block_bytes:
                    continue
        file.truncate(file.tell() - free_bytes)
    try:
        yield
    finally:
        filler.unlink()
