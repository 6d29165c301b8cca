"""When checkpoints are committed: due ones at once, a new best one when that costs little, never out of order."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.training.checkpoint_keeping import Keeping, state
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints.snapshot import load
from trainerd.training.checkpoints.verify import verify


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Keeping]:
    return lambda **plan: Keeping(tmp_path, Checkpoint(**plan))


def test_periodic_checkpoints_are_due_by_steps_and_by_minutes(keep: Callable[..., Keeping]) -> None:
    keeping = keep(every_steps=10, every_minutes=1)
    assert not keeping.keeper.is_due(9)
    assert keeping.keeper.is_due(10)
    keeping.clock.seconds += 61
    assert keeping.keeper.is_due(11)
    keeping.keeper.save(state(11), periodic=True)
    assert not keeping.keeper.is_due(12)
    keeping.keeper.settle()


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


def test_what_is_committed_of_a_waiting_best_state_is_the_state_as_it_was_taken(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    live = state(20)
    keeping.keeper.hold_best(live)
    live.model["weight"].zero_()  # training goes on
    keeping.keeper.finish()
    assert load(verify(keeping.directory.checkpoint(20))).model["weight"].tolist() == [20.0, 20.0, 20.0]


def test_a_step_is_committed_once_even_if_it_is_last_and_best(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    keeping.keeper.save(state(10))
    assert keeping.committed() == [10]


@pytest.mark.parametrize("is_written_before", [True, False])
def test_a_best_checkpoint_that_is_due_too_is_periodic_as_well(
    keep: Callable[..., Keeping], is_written_before: bool
) -> None:
    keeping = keep()
    keeping.keeper.hold_best(state(10))
    if is_written_before:
        keeping.keeper.settle()
    keeping.keeper.save(state(10), periodic=True)
    assert keeping.committed() == [10]
    assert verify(keeping.directory.checkpoint(10)).manifest.periodic


def test_the_lines_that_a_checkpoint_stands_on_are_synced_first(keep: Callable[..., Keeping]) -> None:
    keeping = keep()
    keeping.keeper.save(state(10))
    keeping.keeper.save(state(20))
    keeping.keeper.settle()
    assert keeping.synced == 2


def test_a_later_attempt_goes_on_with_what_is_there(keep: Callable[..., Keeping], tmp_path: Path) -> None:
    first = keep()
    for step in (10, 20):
        first.keeper.save(state(step), periodic=True)
    first.keeper.settle()
    later = Keeping(tmp_path, Checkpoint(keep_periodic=2))
    later.keeper.resume_best(10)
    later.keeper.save(state(30), periodic=True)
    later.keeper.save(state(40), periodic=True)
    later.keeper.settle()
    assert later.on_disk() == [10, 30, 40]
