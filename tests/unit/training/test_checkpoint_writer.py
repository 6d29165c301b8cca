"""Checkpoints are written beside the training: in order, from a copy, and no error is lost on the way."""

import errno
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.polling import poll
from tests.unit.training.checkpoint_keeping import Gate, Keeping, state
from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints import commit, writer
from trainerd.training.checkpoints.commit import TEMPORARY_PREFIX
from trainerd.training.checkpoints.snapshot import load
from trainerd.training.checkpoints.verify import verify
from trainerd.training.checkpoints.writer import CheckpointWriter


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(tmp_path, Checkpoint(keep_periodic=1))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_training_goes_on_while_a_checkpoint_is_written_and_does_not_touch_it(keeping: Keeping, gate: Gate) -> None:
    live = state(10)
    keeping.keeper.save(live)
    gate.wait_for_writer()
    live.model["weight"].zero_()
    keeping.keeper.note_finished()
    assert keeping.events() == []
    gate.open()
    keeping.keeper.settle()
    assert load(verify(keeping.directory.checkpoint(10))).model["weight"].tolist() == [10.0, 10.0, 10.0]


def test_a_commit_is_told_at_the_next_look(keeping: Keeping) -> None:
    keeping.keeper.save(state(10), periodic=True)

    def is_told() -> bool:
        keeping.keeper.note_finished()
        return bool(keeping.events())

    poll(is_told, "the commit was never told")
    event = keeping.events()[0]
    assert (event["step"], event["kind"], event["order"]) == (10, "periodic", None)
    assert keeping.keeper.newest_committed == 10
    keeping.keeper.settle()


def test_a_state_waits_for_a_buffer_while_all_of_them_are_being_written(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a best state there is one buffer: what it holds must be on disk before it takes the next state."""
    keeping = Keeping(tmp_path, Checkpoint(), holds_best=False)
    take, waited = CheckpointWriter.take, []

    def take_and_open(self: CheckpointWriter) -> Any:
        waited.append(len(keeping.events()))
        gate.open()
        return take(self)

    monkeypatch.setattr(CheckpointWriter, "take", take_and_open)
    keeping.keeper.save(state(10))
    assert waited == []
    keeping.keeper.save(state(20))
    assert waited == [0]
    keeping.keeper.settle()
    assert [event["step"] for event in keeping.events()] == [10, 20]
    assert load(verify(keeping.directory.checkpoint(20))).model["weight"].tolist() == [20.0, 20.0, 20.0]


def test_a_best_state_does_not_wait_for_a_write(keeping: Keeping, gate: Gate) -> None:
    """It has a buffer of its own, and a newer best one may replace it there until it is handed over."""
    keeping.keeper.save(state(5))
    gate.wait_for_writer()
    for step in (10, 20, 30):
        keeping.keeper.hold_best(state(step))
    gate.open()
    keeping.keeper.save(state(35))
    assert keeping.committed() == [5, 30, 35]


def test_nothing_older_is_deleted_before_the_newer_one_is_durable(keeping: Keeping, gate: Gate) -> None:
    gate.open()
    keeping.keeper.save(state(10))
    keeping.keeper.settle()
    with pytest.MonkeyPatch.context() as patch:
        closed = Gate(patch)
        keeping.keeper.save(state(20))
        closed.wait_for_writer()
        keeping.keeper.note_finished()
        assert keeping.on_disk() == [10]
        closed.open()
        keeping.keeper.settle()
    assert keeping.on_disk() == [20]


def test_the_best_checkpoint_stays_until_a_newer_best_one_is_on_disk(keeping: Keeping, gate: Gate) -> None:
    """A commit that was under way when the newer best came must not take the older best with it."""
    gate.open()
    keeping.keeper.hold_best(state(10))
    keeping.keeper.settle()
    keeping.keeper.save(state(15))
    keeping.keeper.hold_best(state(20))
    keeping.keeper.settle()
    assert keeping.on_disk() == [10, 15]
    keeping.keeper.commit_waiting_best()
    keeping.keeper.settle()
    assert keeping.on_disk() == [20]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_of_the_disk_is_raised_in_the_training_thread_and_nothing_is_committed_behind_it(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    keeping.keeper.save(state(10))
    keeping.keeper.settle()
    fsync, failed = os.fsync, []

    def fail_once(fd: int) -> None:
        if not failed:
            failed.append(fd)
            raise OSError(number, os.strerror(number))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    keeping.keeper.save(state(20))

    def look() -> OSError | None:
        try:
            keeping.keeper.note_finished()
        except OSError as error:
            return error
        return None

    assert poll(look, "the error never came").errno == number  # type: ignore[union-attr]
    for step in (30, 40, 50):
        with pytest.raises(OSError, match=os.strerror(number)):
            keeping.keeper.save(state(step))
    for _ in range(2):  # and at every end
        with pytest.raises(OSError, match=os.strerror(number)):
            keeping.keeper.settle()
    assert keeping.on_disk() == [10]
    assert [path.name for path in keeping.directory.checkpoints.iterdir()] == ["step-000000010"]


def test_what_was_handed_over_behind_an_error_is_not_committed(
    keeping: Keeping, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there would be a newer checkpoint without the best one that it counts on."""
    keeping.keeper.save(state(10))
    gate.wait_for_writer()
    keeping.keeper.save(state(20))
    monkeypatch.setattr(commit, "sync_directory", full_disk_once())
    gate.open()
    with pytest.raises(OSError, match="No space left"):
        keeping.keeper.settle()
    with pytest.raises(OSError, match="No space left"):
        keeping.keeper.close()  # the thread has done what it will
    assert keeping.on_disk() == []


def full_disk_once() -> Callable[[Path], None]:
    """`sync_directory` of a disk that is full once."""
    calls = itertools.count()

    def sync(path: Path) -> None:
        if next(calls) == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync_directory(path)

    return sync


def test_what_is_no_error_of_the_disk_is_raised_too(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the trainer would wait for ever for a thread that has died."""

    def fail(*_: object) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr(writer, "commit_directory", fail)
    keeping.keeper.save(state(10))
    with pytest.raises(MemoryError, match="none left"):
        keeping.keeper.settle()


def test_the_writing_thread_runs_in_the_background_and_an_end_is_written_in_place(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_directory, nice, names = writer.commit_directory, [], []

    def look_and_commit(*arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return commit_directory(*arguments)

    monkeypatch.setattr(writer, "commit_directory", look_and_commit)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    keeping.keeper.save(state(10))
    keeping.keeper.close()
    keeping.keeper.save(state(20))
    keeping.keeper.settle()
    assert keeping.committed() == [10, 20]
    assert names == ["checkpoint-writer", threading.current_thread().name]
    assert nice[0] > before
    assert nice[1] == before


def test_after_the_trial_no_memory_is_asked_for(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping.keeper.try_out(state(0))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a buffer was made after step 1")

    live = {step: state(step) for step in (10, 20, 25)}
    monkeypatch.setattr(torch, "empty", refuse)
    keeping.keeper.hold_best(live[10])
    keeping.keeper.hold_best(live[20])
    keeping.keeper.save(live[25])
    keeping.keeper.settle()


def test_what_a_crash_left_behind_is_gone_at_the_next_attempt(keeping: Keeping, tmp_path: Path) -> None:
    keeping.keeper.save(state(10))
    keeping.keeper.settle()
    checkpoints = keeping.directory.checkpoints
    torn = checkpoints / f"{TEMPORARY_PREFIX}step-000000020"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"torn")
    (checkpoints / "step-000000010" / ".manifest.json.tmp").write_bytes(b"{")
    (checkpoints / "removing-step-000000005").mkdir()
    later = Keeping(tmp_path, Checkpoint())
    assert [path.name for path in checkpoints.iterdir()] == ["step-000000010"]
    assert not (checkpoints / "step-000000010" / ".manifest.json.tmp").exists()
    assert later.keeper.newest_committed == 10
