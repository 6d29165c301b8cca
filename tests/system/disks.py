"""Disks of a test's own: one whose power can be cut, and a small one that fills up."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_EXT4_IOC_SHUTDOWN = 0x8004587D  # linux/fs/ext4/ext4.h
_WITHOUT_FLUSHING_THE_JOURNAL = 2


@dataclass(frozen=True)
class Disk:
    """An ext4 in a file, mounted at `path`."""

    image: Path
    path: Path

    def cut_power(self) -> None:
        """From here on nothing more reaches the disk, and every write fails, until it is mounted again."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_JOURNAL))
        finally:
            os.close(fd)

    def start_again(self) -> None:
        """As after a power cut: what was only in memory is gone, and ext4 replays its journal."""
        self.unmount()
        self.mount()

    def mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", str(self.image), str(self.path))

    def unmount(self) -> None:
        _run("umount", str(self.path))


@contextmanager
def disk_without_battery(folder: Path, megabytes: int = 24) -> Iterator[Disk]:
    disk = Disk(folder / "disk.ext4", folder / "disk")
    with disk.image.open("wb") as image:
        image.truncate(megabytes << 20)
    _run("mkfs.ext4", "-q", str(disk.image))
    disk.path.mkdir()
    disk.mount()
    try:
        yield disk
    finally:
        _run("umount", "--lazy", str(disk.path))  # also where a test that has failed holds a file open


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[Path]:
    """A disk in memory of this size, mounted at `path`."""
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=755", "none", str(path))
    try:
        yield path
    finally:
        _run("umount", "--lazy", str(path))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
