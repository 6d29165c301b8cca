"""When checkpoints are committed: due ones at once, a new best one when that costs little, never out of order."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainerd.contracts.journal import Journal
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints.keeper import CheckpointKeeper
from trainerd.training.checkpoints.snapshot import RunState, load
from trainerd.training.checkpoints.verify import list_checkpoints, verify


class Clock:
    """Seconds that pass only when told to, and a little with every look, as a commit takes time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.1
        return self.seconds


class Keeping:
    """A keeper with a clock of its own, in a run directory of its own."""

    def __init__(self, path: Path, plan: Checkpoint) -> None:
        self.directory = RunDirectory(path)
        self.clock = Clock()
        self.synced = 0
        journal = Journal(self.directory.events, attempt=1)
        self.keeper = CheckpointKeeper(self.directory, plan, journal, 1, self._sync, self.clock)

    def _sync(self) -> None:
        self.synced += 1

    def committed(self) -> list[int]:
        """The steps of all commits so far, in their order."""
        return [event["step"] for event in read_lines(self.directory.events)[0]]

    def on_disk(self) -> list[int]:
        return sorted(verify(path).manifest.step for path in list_checkpoints(self.directory.checkpoints))


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Keeping]:
    return lambda **plan: Keeping(tmp_path, Checkpoint(**plan))


def state(step: int) -> RunState:
    return RunState(step, step // 10, {"weight": torch.full((3,), float(step))}, {"progress": {"step": step}})


def test_periodic_checkpoints_are_due_by_steps_and_by_minutes(keep: Callable[..., Keeping]) -> None:
    keeping = keep(every_steps=10, every_minutes=1)
    assert not keeping.keeper.is_due(9)
    assert keeping.keeper.is_due(10)
    keeping.clock.seconds += 61
    assert keeping.keeper.is_due(11)
    keeping.keeper.save(state(11), periodic=True)
    assert not keeping.keeper.is_due(12)


def test_a_first_best_state_is_committed_at_once(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    assert keeping.committed() == [10]


def test_best_states_in_quick_succession_wait_and_only_the_newest_is_committed(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    for step in (20, 30, 40):
        keeping.keeper.hold_best(state(step))
    assert keeping.committed() == [10]
    keeping.clock.seconds += 3600
    keeping.keeper.hold_best(state(50))
    assert keeping.committed() == [10, 50]
    assert keeping.on_disk() == [50]


def test_a_waiting_best_state_is_committed_before_any_newer_checkpoint(keep: Callable[..., Keeping]) -> None:
    """Else a crash behind the newer one would lose the best state for good."""
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    keeping.keeper.hold_best(state(20))
    keeping.keeper.save(state(25))
    assert keeping.committed() == [10, 20, 25]
    assert keeping.on_disk() == [20, 25]


def test_what_is_committed_is_the_state_as_it_was_when_it_was_taken(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    live = state(20)
    keeping.keeper.hold_best(live)
    live.model["weight"].zero_()  # training goes on
    keeping.keeper.commit_waiting_best()
    assert load(verify(keeping.directory.checkpoint(20))).model["weight"].tolist() == [20.0, 20.0, 20.0]


def test_a_step_is_committed_once_even_if_it_is_last_and_best(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    keeping.keeper.save(state(10))
    assert keeping.committed() == [10]


def test_the_lines_that_a_checkpoint_stands_on_are_synced_first(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.save(state(10))
    keeping.keeper.save(state(20))
    assert keeping.synced == 2


def test_a_later_attempt_goes_on_with_what_is_there(keep: Callable[..., Keeping], tmp_path: Path) -> None:
    first = keep()
    for step in (10, 20):
        first.keeper.save(state(step), periodic=True)
    later = Keeping(tmp_path, Checkpoint(keep_periodic=2))
    later.keeper.resume_best(10)
    later.keeper.save(state(30), periodic=True)
    later.keeper.save(state(40), periodic=True)
    assert later.on_disk() == [10, 30, 40]
