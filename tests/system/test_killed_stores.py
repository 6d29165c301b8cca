"""Killed just before any of its system calls, a writer of command log or state leaves all that it has acknowledged."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import plain_store
import pytest
from strace import KILL, Call, calls_on, run_under_strace, spread

CALLS = (  # without mmap and munmap: how often memory is asked for differs from one time to the next
    *("openat", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "close", "fcntl"),
    *("rename", "unlink", "unlinkat"),
)

pytestmark = pytest.mark.system


@pytest.mark.parametrize("kind", ["log", "state"])
@pytest.mark.parametrize("trials", [8, pytest.param(math.inf, marks=pytest.mark.torture)])
def test_a_writer_killed_at_any_system_call_leaves_what_it_has_acknowledged(
    tmp_path: Path, kind: str, trials: float
) -> None:
    """A reader finds it before any writer has opened the file again, and at most the one under way besides."""
    calls = calls_of_a_store(tmp_path / "undisturbed", kind)

    for number, call in enumerate(spread(calls, trials)):
        home = tmp_path / str(number)
        acknowledged = store_and_die(kind, home, call)
        found = plain_store.what_is_read(kind, home)
        assert found - acknowledged <= {len(acknowledged) + 1}, call
        assert found >= acknowledged, call
        plain_store.store_one(kind, home, plain_store.COUNT + 1)
        assert plain_store.what_is_read(kind, home, plain_store.COUNT + 1) == found | {plain_store.COUNT + 1}, call


@pytest.mark.parametrize("kind", ["log", "state"])
def test_a_file_whose_making_was_cut_off_reads_as_empty_and_is_made_anew(tmp_path: Path, kind: str) -> None:
    """Its rollback journal lies beside it, and a reader may not roll anything back."""
    calls = [call for call in calls_of_a_store(tmp_path / "undisturbed", kind) if "sqlite-journal" in call.line]
    assert calls

    for number, call in enumerate(calls):
        home = tmp_path / str(number)
        assert store_and_die(kind, home, call) == set(), call
        assert plain_store.what_is_read(kind, home) == set(), call
        plain_store.store_one(kind, home, 1)
        assert plain_store.what_is_read(kind, home) == {1}, call


def calls_of_a_store(home: Path, kind: str) -> list[Call]:
    home.mkdir()
    log = home.with_suffix(".calls")
    stored = run_under_strace([sys.executable, plain_store.__file__, kind, home], log, names=CALLS)
    assert "refused" not in stored.stdout
    return calls_on(home, log)


def store_and_die(kind: str, home: Path, call: Call) -> set[int]:
    """Store until this call; what was acknowledged by then."""
    home.mkdir()
    command = [sys.executable, plain_store.__file__, kind, home]
    stored = run_under_strace(command, home.with_suffix(".calls"), injected=[call.to(KILL)])
    assert stored.returncode != 0, f"survived {call}"
    return {int(line.split()[0]) for line in stored.stdout.splitlines() if line.endswith("stored")}
