"""The ways in which a daemon's state or its command log gets lost, each done to the files of a home."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

State = Path  # the database, of the state or of the command log; its companions lie beside it


def _delete(state: State) -> None:
    for part in ("", "-wal", "-shm"):
        state.with_name(state.name + part).unlink(missing_ok=True)


def _delete_only_the_database(state: State) -> None:
    state.unlink()


def _overwrite(state: State) -> None:
    state.write_bytes(os.urandom(5000))


def _empty(state: State) -> None:
    state.write_bytes(b"")


def _overwrite_first_page(state: State) -> None:
    _write_inside(state, 0, os.urandom(4096))


def _overwrite_middle(state: State) -> None:
    """Behind the header, which alone tells at a glance that this is no database."""
    size = state.stat().st_size
    _write_inside(state, max(size // 2, 1024), os.urandom(min(1024, size // 4)))


def _overwrite_tail(state: State) -> None:
    size = state.stat().st_size
    _write_inside(state, size - min(1024, size // 4), os.urandom(min(1024, size // 4)))


def _overwrite_log(state: State) -> None:
    state.with_name(state.name + "-wal").write_bytes(os.urandom(5000))


def _write_inside(path: Path, offset: int, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, offset)
    os.close(fd)


LOSSES: dict[str, Callable[[State], None]] = {
    "deleted": _delete,
    "the database deleted": _delete_only_the_database,
    "overwritten": _overwrite,
    "emptied": _empty,
    "first page overwritten": _overwrite_first_page,
    "middle overwritten": _overwrite_middle,
    "tail overwritten": _overwrite_tail,
    "write-ahead log overwritten": _overwrite_log,
}


def damaged_files(home: Path) -> set[Path]:
    """What the daemon has moved aside, companions included."""
    return set(home.glob("state.sqlite.corrupt-*"))
