"""What a SQLite file and its companions look like from outside: by this its writer notices other programs' hands.

Only looks (stat(2)); but for `find_outer_damage`, which reads the first bytes before anybody has opened the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PARTS = ("", "-wal", "-shm")  # what belongs to one SQLite file; its rollback journal never exists under WAL

_MAGIC = b"SQLite format 3\x00"  # https://sqlite.org/fileformat2.html#the_database_header
_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")  # ..#the_write_ahead_log

Identity = tuple[int, int]  # device, inode
Content = tuple[int, int]  # size in bytes, time of the last write in ns


@dataclass(frozen=True)
class Footprint:
    """Which files they are and when they were last written.

    The shared memory is written through a mapping, also by readers: its size and time say nothing. Its content needs no
    watch, because SQLite makes it anew from the others.
    """

    identities: tuple[Identity | None, ...]  # of PARTS; None: not there
    contents: tuple[Content | None, ...]  # of the database and its write-ahead log


def footprint_of(path: Path) -> Footprint:
    """How the database at `path` looks now. Only its one writer may compare it with an earlier one."""
    found = [_stat(path_of(path, part)) for part in PARTS]
    return Footprint(
        identities=tuple(status and (status.st_dev, status.st_ino) for status in found),
        contents=tuple(status and (status.st_size, status.st_mtime_ns) for status in found[:2]),
    )


def describe_difference(path: Path, before: Footprint, now: Footprint) -> str | None:
    """What another program has done to the files since `before`; None if nothing."""
    for part, was, found in zip(PARTS, before.identities, now.identities, strict=True):
        if was != found:
            return f"{path_of(path, part).name} {'is gone' if found is None else 'is another file than before'}"
    for part, written, read in zip(PARTS, before.contents, now.contents, strict=False):
        if written != read:
            return f"{path_of(path, part).name} was overwritten by another program"
    return None


def find_outer_damage(path: Path) -> str | None:
    """What can be seen to be wrong before SQLite opens the files, and what it would mend or drop in silence.

    Only while no process has them open: closing a file drops the locks that SQLite holds on it.
    """
    database, log = (_head(path_of(path, part)) for part in PARTS[:2])
    if log and log[:4] not in _WAL_MAGIC:
        return f"{path_of(path, '-wal').name} is no write-ahead log"
    if database is None:
        return f"{path.name} is gone, and its -wal file is left" if log else None
    if not database:
        return f"{path.name} is empty"
    return None if database.startswith(_MAGIC) else f"{path.name} is no database"


def is_open_here(footprint: Footprint) -> bool:
    """Whether the files that have these names are the ones that this process has open.

    They are not where somebody has taken them away between their opening and the look at them.
    """
    opened = {identity_of(link) for link in Path("/proc/self/fd").iterdir()} - {None}
    return opened.issuperset(footprint.identities)


def path_of(path: Path, part: str) -> Path:
    """The file of one of PARTS."""
    return path.with_name(path.name + part)


def identity_of(path: Path) -> Identity | None:
    """Which file `path` is now; None where there is none."""
    status = _stat(path)
    return status and (status.st_dev, status.st_ino)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _head(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC))
    except FileNotFoundError:
        return None
