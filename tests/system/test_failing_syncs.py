"""EIO from fsync: the error is told, nothing is taken for stored that may not be, and the next try works."""

from __future__ import annotations

import sys
from pathlib import Path

import plain_saver
import plain_store
import pytest
from strace import Call, calls_on, run_under_strace

from trainerd.training.checkpoints.verify import list_checkpoints, verify

SYNCS = ("fsync", "fdatasync")
EIO = "error=EIO"

pytestmark = pytest.mark.system


def test_a_checkpoint_whose_sync_fails_is_thrown_away_and_the_next_one_is_saved(tmp_path: Path) -> None:
    """Where only the very last sync failed it is there: whole, but no power cut is promised anything."""
    syncs = syncs_of_the_first_save(tmp_path / "undisturbed")
    assert len(syncs) == len(plain_saver.FILES) + 3  # the manifest, the directory, the one that holds it

    for number, sync in enumerate(syncs):
        checkpoints, log = tmp_path / str(number), tmp_path / f"{number}.calls"
        saved = run_under_strace(saver_of(checkpoints), log, names=["write"], injected=[sync.to(EIO)])

        assert saved.stdout.splitlines() == ["begins", "20 EIO", "30 saved"], sync
        assert synced_after_the_error(log) == [], sync
        left = [path.name for path in sorted(checkpoints.iterdir())]
        was_last = sync == syncs[-1]
        assert left == (["step-000000020"] if was_last else []) + ["step-000000030"], sync
        assert all(verify(path) for path in list_checkpoints(checkpoints)), sync
        if not was_last:
            plain_saver.save(checkpoints, 20)


def syncs_of_the_first_save(checkpoints: Path) -> list[Call]:
    log = checkpoints.with_suffix(".calls")
    saved = run_under_strace(saver_of(checkpoints), log, names=["write", *SYNCS])
    assert saved.stdout.splitlines() == ["begins", "20 saved", "30 saved"]
    calls = calls_on(checkpoints.parent, log)
    return [call for call in calls if call.name in SYNCS][: len(calls) // 2]


def synced_after_the_error(log: Path) -> list[str]:
    """What was synced between the failed sync and the word of it."""
    lines = log.read_text().splitlines()
    failed = next(number for number, line in enumerate(lines) if "INJECTED" in line)
    told = next(number for number, line in enumerate(lines) if number > failed and " write(1<" in line)
    return [line for line in lines[failed + 1 : told] if "sync(" in line]


def saver_of(checkpoints: Path) -> list[str | Path]:
    return [sys.executable, plain_saver.__file__, checkpoints, "20", "30"]


@pytest.mark.parametrize("kind", ["log", "state"])
def test_a_transaction_whose_sync_fails_is_refused_and_later_ones_are_stored(tmp_path: Path, kind: str) -> None:
    """Each DiskError costs one transaction at most; whatever was acknowledged is read once the file is opened anew."""
    syncs = syncs_of_a_store(tmp_path / "undisturbed", kind)
    assert len([sync for sync in syncs if "-wal>" in sync.line]) >= plain_store.COUNT, "each has one of its own"

    for number, sync in enumerate(syncs):
        home, log = tmp_path / str(number), tmp_path / f"{number}.calls"
        home.mkdir()
        stored = run_under_strace(store_of(kind, home), log, injected=[sync.to(EIO)])

        assert stored.returncode == 0, f"{sync}\n{stored.stderr}"
        told = stored.stdout.splitlines()
        acknowledged = {int(line.split()[0]) for line in told if line.endswith("stored")}
        assert len([line for line in told if "refused" in line]) <= 1, told
        assert len(acknowledged) >= plain_store.COUNT - 1, told
        assert plain_store.what_is_read(kind, home) == acknowledged, f"{sync}\n{told}"


def syncs_of_a_store(home: Path, kind: str) -> list[Call]:
    home.mkdir()
    log = home.with_suffix(".calls")
    stored = run_under_strace(store_of(kind, home), log, names=SYNCS)
    assert stored.stdout.splitlines().count("1 stored") == 1, stored.stderr
    assert "refused" not in stored.stdout
    return calls_on(home, log)


def store_of(kind: str, home: Path) -> list[str | Path]:
    return [sys.executable, plain_store.__file__, kind, home]
