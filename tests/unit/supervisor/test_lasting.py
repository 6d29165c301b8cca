"""A supervisor whose state is lost while the disk cannot take a new one."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from trainerd.contracts.errors import DiskError
from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.store import database
from trainerd.store.command_log import CommandLogReader
from trainerd.supervisor.lasting import LastingSupervisor


def test_a_full_disk_costs_no_more_than_the_time_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried: only real damage counts as a loss, and only what was damaged is kept."""
    home = Home(tmp_path, tmp_path / "control.sock")
    home.runs.mkdir()
    supervisor = LastingSupervisor(home, Settings(), CommandLogReader(home.command_log))
    supervisor.tick()
    home.state.write_bytes(b"no database" * 1000)

    def fill_up(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(database, "_create", fill_up)
        for _ in range(40):
            with pytest.raises(DiskError, match="disk is full"):
                supervisor.tick()
            supervisor.start_over()

    supervisor.tick()
    assert len({path.name.split("-wal")[0].split("-shm")[0] for path in tmp_path.glob("*.corrupt-*")}) == 1
    supervisor.close()
