"""A power cut at any moment: what was acknowledged is on the disk, and nothing torn is taken for whole.

The disk is an ext4 that is shut down (EXT4_IOC_SHUTDOWN, its journal not flushed) while a process writes, and mounted
again.
"""

from __future__ import annotations

import math
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import plain_saver
import plain_store
import pytest
from disks import Disk, disk_without_battery
from strace import same_every_time

from trainerd.contracts.durable_files import sync_directory
from trainerd.training.checkpoints.verify import Damaged, list_checkpoints, verify

LINES = 6  # the moment lies behind one of so many lines
PATIENCE_SECONDS = 20.0
WITHIN_SECONDS = 0.03  # of that line: a few commits long
WRITES = 60  # more than are done until then

pytestmark = pytest.mark.system
TRIALS = pytest.mark.parametrize(
    "trials",
    [
        pytest.param(5, marks=pytest.mark.timeout(600)),
        pytest.param(200, marks=[pytest.mark.torture, pytest.mark.timeout(3600)]),
    ],
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with disk_without_battery(tmp_path) as disk:
        yield disk


@TRIALS
def test_every_checkpoint_that_was_told_of_survives_a_power_cut(disk: Disk, trials: int) -> None:
    losses = [find_loss_of_checkpoints(disk, range(1, WRITES), random.randint(1, LINES)) for _ in range(trials)]

    assert [loss for loss in losses if loss] == []


@pytest.mark.parametrize("left_out", ["files", "directories"])
def test_a_saver_that_leaves_out_a_sync_is_caught(disk: Disk, left_out: str) -> None:
    """So the test above can fail: the disk does lose what was not synced. (A later save would sync this one's name.)"""
    planted = (find_loss_of_checkpoints(disk, range(1, 2), lines=2, WITHOUT_FSYNC=left_out) for _ in range(10))
    assert any(planted), "on a slow machine the kernel may have written it by itself, but each time?"
    assert find_loss_of_checkpoints(disk, range(1, 2), lines=2) is None


@TRIALS
@pytest.mark.parametrize("kind", ["log", "state"])
def test_every_transaction_that_was_acknowledged_survives_a_power_cut(disk: Disk, kind: str, trials: int) -> None:
    losses = [find_loss_of_transactions(disk, kind) for _ in range(trials)]

    assert [loss for loss in losses if loss] == []


def find_loss_of_checkpoints(disk: Disk, steps: range, lines: int, **environment: str) -> str | None:
    """What one trial, on the empty disk, has cost; else None, and the next save works whatever was left."""
    checkpoints = disk.path / "checkpoints"
    saver = [sys.executable, plain_saver.__file__, checkpoints, *map(str, steps)]
    told = write_until_power_cut(disk, saver, lines, **environment)
    damage, whole = look_at(checkpoints)
    missing = numbers_of(told, "saved") - whole
    if not damage and not missing:
        plain_saver.save(checkpoints, max(whole, default=0) + 1)
    clear(disk, checkpoints)
    return f"{damage} damaged, {missing} gone, of {told}" if damage or missing else None


def look_at(checkpoints: Path) -> tuple[list[str], set[int]]:
    """What is damaged, and the steps that are whole."""
    damage, whole = [], set()
    for path in list_checkpoints(checkpoints):
        try:
            whole.add(verify(path).manifest.step)
        except Damaged as error:
            damage.append(f"{path.name}: {error}")
    return damage, whole


def find_loss_of_transactions(disk: Disk, kind: str) -> str | None:
    """What one trial, on the empty disk, has cost; else None, and the file takes more transactions."""
    home = disk.path / "home"
    home.mkdir()
    store = [sys.executable, plain_store.__file__, kind, home, str(WRITES)]
    told = write_until_power_cut(disk, store, random.randint(1, LINES))
    home.mkdir(exist_ok=True)
    found = plain_store.what_is_read(kind, home, WRITES)
    missing = numbers_of(told, "stored") - found
    assert found == set(range(1, len(found) + 1)), "one after the other"
    plain_store.store_one(kind, home, WRITES + 1)
    assert plain_store.what_is_read(kind, home, WRITES + 1) == {*found, WRITES + 1}, "what was found stays"
    clear(disk, home)
    return f"{missing} gone, of {told}" if missing else None


def write_until_power_cut(disk: Disk, command: list[str | Path], lines: int, **environment: str) -> list[str]:
    """What the command had told by the time of the power cut, at a random moment behind so many of its lines.

    The disk is mounted again. What it tells afterwards nobody would hear: a sync that is under way while the disk is
    shut down may still say that it was done.
    """
    whole = {**same_every_time(), **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=whole) as writer:
        assert writer.stdout is not None
        told = read_lines_of(writer.stdout.fileno(), lines, random.uniform(0, WITHIN_SECONDS))
        disk.cut_power()
        writer.stdout.read()
    disk.start_again()
    return told


def read_lines_of(fd: int, lines: int, seconds: float) -> list[str]:
    """At least so many lines, and what comes within `seconds` of the last of them."""
    text, deadline = b"", math.inf
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], min(left, PATIENCE_SECONDS))[0]:
            block = os.read(fd, 1 << 16)
            if not block:
                break
            text += block
        if deadline == math.inf and text.count(b"\n") >= lines:
            deadline = time.monotonic() + seconds
    return text[: text.rfind(b"\n") + 1].decode().splitlines()


def clear(disk: Disk, directory: Path) -> None:
    """Remove it for good: the next power cut must not bring it back."""
    shutil.rmtree(directory, ignore_errors=True)
    sync_directory(disk.path)


def numbers_of(told: list[str], what: str) -> set[int]:
    return {int(line.split()[0]) for line in told if line.endswith(f" {what}")}
