"""Each (split, step) stands once in metrics.jsonl, whatever was interrupted; TensorBoard shows the same points once."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainerd.contracts.json_lines import read_lines, read_lines_backwards
from trainerd.training.metric_log import MetricLog
from trainerd.training.tensorboard_log import TensorBoardLog


def line(step: int, loss: float, split: str = "train") -> dict[str, Any]:
    return {"time": "2026-01-01T00:00:00+00:00", "step": step, "epoch": 1, "split": split, "loss": loss}


def write(path: Path, lines: list[dict[str, Any]], resume_step: int = 0) -> set[tuple[str, int]]:
    """Write `lines` in a new attempt; tells which lines of earlier ones are going to be repeated."""
    log = MetricLog(path, resume_step)
    log.write(lines)
    log.close()
    return set(log.earlier)


def test_replayed_steps_are_kept_for_comparison_and_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [line(10, 0.5), line(20, 0.4), line(20, 0.6, "val"), line(30, 0.3)])

    again = [line(20, 0.4), line(20, 0.6, "val"), line(30, 0.31), line(40, 0.2)]
    assert write(path, again, resume_step=15) == {("train", 20), ("val", 20), ("train", 30)}

    steps = [(each["step"], each["split"], each["loss"]) for each in read_lines(path)[0]]
    assert steps == [(10, "train", 0.5), (20, "train", 0.4), (20, "val", 0.6), (30, "train", 0.3), (40, "train", 0.2)]


def test_the_validation_line_at_the_checkpoints_own_step_is_not_doubled(tmp_path: Path) -> None:
    """A checkpoint at an epoch's last step, before its validation: the validation is done again on resume."""
    path = tmp_path / "metrics.jsonl"
    write(path, [line(20, 0.4), line(20, 0.6, "val")])
    assert write(path, [line(20, 0.6, "val")], resume_step=20) == {("val", 20)}
    assert len(read_lines(path)[0]) == 2


def test_lines_at_other_steps_than_before_are_not_put_between_older_ones(tmp_path: Path) -> None:
    """trainer.log_every_steps may change; the steps of a split rise in the file all the same."""
    path = tmp_path / "metrics.jsonl"
    write(path, [line(10, 0.5), line(20, 0.4)])
    write(path, [line(step, 0.1) for step in (5, 10, 15, 20, 25)])
    assert [each["step"] for each in read_lines(path)[0]] == [10, 20, 25]


def test_a_torn_last_line_is_cut_and_its_step_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [line(10, 0.5)])
    with path.open("ab") as file:
        file.write(b'{"time": "2026-01-01T00:00:00+00:00", "st')
    assert read_lines(path)[0] == [line(10, 0.5)]
    write(path, [line(20, 0.4)], resume_step=10)
    assert read_lines(path)[0] == [line(10, 0.5), line(20, 0.4)]


@pytest.mark.parametrize("cut_bytes", [0, 1, 9, 30, 75])
def test_tensorboard_reads_one_gapless_curve_after_a_torn_event(tmp_path: Path, cut_bytes: int) -> None:
    path, board = tmp_path / "metrics.jsonl", tmp_path / "tensorboard"
    write(path, [line(step, step / 100) for step in (10, 20, 30)])
    first = TensorBoardLog(board, path)
    first.catch_up()
    first.close()
    event_file = next(board.iterdir())
    event_file.write_bytes(event_file.read_bytes()[: event_file.stat().st_size - cut_bytes])
    write(path, [line(step, step / 100) for step in (40, 50)], resume_step=30)

    second = TensorBoardLog(board, path)
    second.catch_up()
    second.close()

    accumulator = EventAccumulator(str(board))
    accumulator.Reload()
    curve = [(event.step, round(event.value, 4)) for event in accumulator.Scalars("train/loss")]
    assert curve == [(10, 0.1), (20, 0.2), (30, 0.3), (40, 0.4), (50, 0.5)]


@pytest.mark.parametrize("damage", ["zeros", "flip", "ahead of the metrics"])
def test_a_curve_that_cannot_be_gone_on_with_is_drawn_anew(tmp_path: Path, damage: str) -> None:
    """What a power cut may leave: blocks of zeros, wrong bytes, or events whose lines were lost."""
    path, board = tmp_path / "metrics.jsonl", tmp_path / "tensorboard"
    write(path, [line(step, step / 100) for step in (10, 20, 30)])
    first = TensorBoardLog(board, path)
    first.catch_up()
    first.close()
    event_file = next(board.iterdir())
    content = event_file.read_bytes()
    if damage == "zeros":
        event_file.write_bytes(content + bytes(64))
    elif damage == "flip":
        event_file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    else:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))

    second = TensorBoardLog(board, path)
    second.catch_up()
    second.close()

    accumulator = EventAccumulator(str(board))
    accumulator.Reload()
    steps = [event.step for event in accumulator.Scalars("train/loss")]
    assert steps == [each["step"] for each in read_lines(path)[0]]


def test_lines_are_read_backwards_across_block_borders(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    records = [{"number": number, "text": "x" * (number * 997 % 5000)} for number in range(100)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"torn')
    content = path.read_bytes()
    backwards = list(read_lines_backwards(path))
    assert [record for record, _ in backwards] == records[::-1]
    assert all(json.loads(content[:end].splitlines()[-1]) == record for record, end in backwards)
