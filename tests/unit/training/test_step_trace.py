"""Steps are recorded about once a second, and at the end; a replay is looked at at once."""

from pathlib import Path

import numpy as np
import torch

from trainerd.contracts.journal import Journal, read_journal
from trainerd.contracts.spec import SampleField, SyntheticData
from trainerd.data import BatchStream, SampleOrder, open_source
from trainerd.training.replay import Before
from trainerd.training.step_record import StepRecord
from trainerd.training.step_trace import StepTrace
from trainerd.training.train_meter import Drained

FIELD = SampleField(shape=[1])
DATA = SyntheticData(kind="synthetic", samples=20, inputs=FIELD, targets=FIELD, batch_size=3)


class Traced:
    """A run of epochs of seven batches, two to a step: four steps an epoch. Its clock stands still unless moved."""

    def __init__(self, folder: Path, resume_step: int = 0) -> None:
        self.folder, self.seconds = folder, 100.0
        record = StepRecord(folder / "steps.bin", resume_step)
        self.stream = BatchStream(
            open_source(DATA), np.arange(20), SampleOrder(3, 20, shuffle=True), 3, torch.device("cpu")
        )
        journal = Journal(folder / "events.jsonl", 1)
        before = Before(record.earlier, {}, {})
        self.trace = StepTrace(record, before, journal, self.stream, accumulate=2, clock=lambda: self.seconds)

    def take(self, epoch: int, first_step: int, *losses: float, committed: int | None = None) -> None:
        self.trace.take_steps(epoch, Drained(first_step, np.array(losses)), committed)

    def recorded(self) -> list[int]:
        return [int(step) for step in StepRecord(self.folder / "steps.bin", 0).earlier["step"]]

    def events(self) -> list[tuple[str, int]]:
        return [(line.event["event"], line.event["step"]) for line in read_journal(self.folder / "events.jsonl")]


def begin(folder: Path) -> Traced:
    """A first attempt: it has nothing to repeat, which it knows after its first step."""
    traced = Traced(folder)
    traced.take(1, 1, 0.1)
    return traced


def test_many_short_epochs_are_recorded_in_one_go(tmp_path: Path) -> None:
    traced = begin(tmp_path)
    traced.take(1, 2, 0.2, 0.3, 0.4)
    traced.trace.finish_epoch({"step": 4})
    traced.take(2, 5, 0.5)
    assert traced.recorded() == [1]
    traced.seconds += 1.0
    traced.take(2, 6, 0.6)
    assert traced.recorded() == [1, 2, 3, 4, 5, 6]


def test_a_step_is_known_by_the_samples_of_all_its_batches(tmp_path: Path) -> None:
    """Also where an epoch is entered in its middle, and for the smaller group at its end."""
    traced = begin(tmp_path)
    traced.take(1, 2, 0.2, 0.3, 0.4)
    traced.trace.finish_epoch({"step": 4})
    traced.take(2, 5, 0.5)
    traced.trace.end()
    batches = StepRecord(tmp_path / "steps.bin", 0).earlier["batch"].tolist()
    assert batches == [
        *traced.stream.index_hashes(1, 0, 7, 2).tolist(),
        *traced.stream.index_hashes(2, 0, 2, 2).tolist(),
    ]


def test_the_end_records_what_is_left_and_forgets_what_was_committed(tmp_path: Path) -> None:
    traced = begin(tmp_path)
    traced.take(1, 2, 0.2, 0.3, committed=2)
    traced.trace.end()
    assert traced.recorded() == [3]


def test_a_replay_is_compared_at_once_and_told_when_it_is_over(tmp_path: Path) -> None:
    first = begin(tmp_path)
    first.take(1, 2, 0.2, 0.3)
    first.trace.end()

    again = Traced(tmp_path, resume_step=1)
    again.trace.resume(batches_used=2)
    again.take(1, 2, 0.2)
    assert again.events() == []
    again.take(1, 3, 0.9, 0.4)

    assert again.events() == [("replay_differed", 3), ("replayed", 3)]


def test_a_position_that_was_not_brought_back_is_another_batch(tmp_path: Path) -> None:
    first = begin(tmp_path)
    first.take(1, 2, 0.2)
    first.trace.end()

    again = Traced(tmp_path, resume_step=1)
    again.take(1, 2, 0.2)

    assert again.events()[0] == ("replay_differed", 2)
