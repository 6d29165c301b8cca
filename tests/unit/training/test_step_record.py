"""steps.bin holds true records only, whatever its writer died of, and only what may still be repeated."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainerd.training import step_record
from trainerd.training.step_record import StepRecord, Steps, steps_of

RECORD_BYTES = 32


def steps(first: int, last: int, loss: float = 0.5) -> Steps:
    count = last - first + 1
    numbers = np.arange(first, last + 1)
    return steps_of(numbers, numbers.astype(np.uint64) * 7, np.full(count, loss))


def written(path: Path, *parts: Steps) -> StepRecord:
    record = StepRecord(path, 0)
    for part in parts:
        record.append(part)
    return record


def stored(path: Path) -> list[int]:
    return [int(step) for step in StepRecord(path, 0).earlier["step"]]


def test_what_was_appended_is_there_for_the_next_attempt_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "steps.bin"
    written(path, steps(1, 3, loss=1 / 3), steps(4, 5))
    earlier = StepRecord(path, resume_step=2).earlier
    assert earlier["step"].tolist() == [3, 4, 5]
    assert earlier["batch"].tolist() == [21, 28, 35]
    assert earlier["loss"].tolist() == [1 / 3, 0.5, 0.5]


def test_repeated_steps_are_not_appended_again(tmp_path: Path) -> None:
    path = tmp_path / "steps.bin"
    written(path, steps(1, 5))
    StepRecord(path, resume_step=2).append(steps(3, 8, loss=9.0))
    assert StepRecord(path, 0).earlier["loss"].tolist() == [0.5] * 5 + [9.0] * 3


@settings(deadline=None)
@given(torn=st.integers(1, RECORD_BYTES - 1), count=st.integers(1, 5))
def test_a_torn_last_record_is_dropped_and_its_step_recorded_whole(
    tmp_path_factory: pytest.TempPathFactory, torn: int, count: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "steps.bin"
    written(path, steps(1, count))
    path.write_bytes(path.read_bytes()[: count * RECORD_BYTES - torn])
    written(path, steps(count, count + 1))
    assert stored(path) == list(range(1, count + 2))


@pytest.mark.parametrize("damage", [bytes(2 * RECORD_BYTES), b"\xff" * 2 * RECORD_BYTES])
def test_what_a_power_cut_leaves_in_place_of_records_is_no_record(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "steps.bin"
    written(path, steps(1, 3))
    path.write_bytes(path.read_bytes() + damage)
    assert stored(path) == [1, 2, 3]


@settings(deadline=None)
@given(bit=st.integers(0, 3 * RECORD_BYTES * 8 - 1))
def test_a_single_wrong_bit_is_told_from_a_loss(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    """A damaged record must not look like a step that was not repeated."""
    path = tmp_path_factory.mktemp("bit") / "steps.bin"
    written(path, steps(1, 3))
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    assert stored(path) == [1, 2, 3][: bit // 8 // RECORD_BYTES]


def test_a_committed_checkpoint_cuts_what_lies_before_it(tmp_path: Path) -> None:
    path = tmp_path / "steps.bin"
    record = written(path, steps(1, 9))
    record.cut(0)
    assert path.stat().st_size == 9 * RECORD_BYTES
    record.cut(6)
    assert stored(path) == [7, 8, 9]
    record.append(steps(10, 10))
    record.cut(6)
    assert stored(path) == [7, 8, 9, 10]
    record.cut(12)
    assert path.stat().st_size == 0
    record.append(steps(13, 14))
    assert stored(path) == [13, 14]


def test_a_run_without_checkpoints_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_record, "_ROOM", 5)
    path = tmp_path / "steps.bin"
    record = written(path, steps(1, 4), steps(5, 8), steps(9, 12))
    assert stored(path) == [1, 2, 3, 4, 5]
    record.cut(12)
    record.append(steps(13, 14))
    assert stored(path) == [13, 14]


def test_a_full_disk_leaves_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "steps.bin"
    record = written(path, steps(1, 2))

    def write_a_piece(fd: int, data: bytes, _make_room: object) -> None:
        step_record.os.write(fd, data[:40])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(step_record, "write_all", write_a_piece)
        with pytest.raises(OSError, match="No space"):
            record.append(steps(3, 5))
    assert path.stat().st_size == 2 * RECORD_BYTES
    record.append(steps(3, 5))
    assert stored(path) == [1, 2, 3, 4, 5]
