"""Killed at any moment, a trainer leaves every checkpoint that it has told of, whole; and nothing else in the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.training import crashing_saver
from tests.unit.training.checkpoint_keeping import Keeping, state
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints.snapshot import load
from trainerd.training.checkpoints.verify import list_checkpoints, newest_verified, verify

FEWEST_CALLS = 30  # four commits of four files each, a mark, a removal


def refuse_damage(name: str, why: str) -> None:
    raise AssertionError(f"{name} is damaged: {why}")


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One run directory for each system call at which the trainer was killed, and the last one of none."""
    folder = tmp_path_factory.mktemp("crashes")
    subprocess.run([sys.executable, crashing_saver.__file__, str(folder)], check=True, timeout=100)
    return sorted(folder.iterdir(), key=lambda path: int(path.name))


def test_whatever_was_told_is_there_and_whole(crashes: list[Path]) -> None:
    assert len(crashes) > FEWEST_CALLS
    seen = set()
    for run in crashes:
        told = [int(line) for line in (run / "told").read_text().split()]
        left = [verify(path).manifest.step for path in list_checkpoints(run / "checkpoints")]
        assert set(left) >= {10} & set(told), f"{run}: the pinned one is gone"
        newest = newest_verified(run / "checkpoints", refuse_damage)
        if newest:
            step = newest.manifest.step
            seen.add(step)
            assert load(newest).model["weight"].unique().tolist() == [step]
        assert (newest.manifest.step if newest else 0) >= max(told, default=0), run
    assert seen == {5, 10, 20, 30}


def test_the_next_attempt_clears_up_and_saves_again(crashes: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    for run in crashes:
        later = Keeping(run, Checkpoint(keep_periodic=1))
        later.keeper.save(state(40), periodic=True)
        later.keeper.settle()
        assert set(later.on_disk()) <= {10, 40}, run
        assert {path.name[:5] for path in (run / "checkpoints").iterdir()} == {"step-"}
