"""A checkpoint that somebody ordered is pinned, at the step of the order, and acknowledged once it is durable."""

from pathlib import Path

import pytest

from tests.unit.training.checkpoint_keeping import Gate, Keeping, state
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints.verify import verify

ORDER = 5 << 20


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(tmp_path, Checkpoint(keep_periodic=1))


def pinned_on_disk(keeping: Keeping) -> list[int]:
    return [step for step in keeping.on_disk() if verify(keeping.directory.checkpoint(step)).manifest.pinned]


def assert_obeyed(keeping: Keeping, step: int) -> None:
    """Settled, pinned at this step, told once with its order."""
    keeping.keeper.settle()
    assert pinned_on_disk(keeping) == [step]
    told = [event for event in keeping.events() if event["order"] is not None]
    assert [(event["step"], event["kind"], event["order"]) for event in told] == [(step, "pinned", ORDER)]
    assert told[0]["bytes"] == verify(keeping.directory.checkpoint(step)).manifest.total_bytes
    assert keeping.obeyed == [ORDER]


def test_an_ordered_checkpoint_is_acknowledged_only_once_it_is_durable(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    keeping.keeper.save(state(10), order=ORDER)
    gate.wait_for_writer()
    keeping.keeper.note_finished()
    assert keeping.obeyed == []
    gate.open()
    assert_obeyed(keeping, 10)


def test_a_step_that_is_committed_already_becomes_pinned(keeping: Keeping) -> None:
    keeping.keeper.save(state(10), periodic=True)
    keeping.keeper.settle()
    keeping.keeper.save(state(10), order=ORDER)
    assert_obeyed(keeping, 10)
    assert verify(keeping.directory.checkpoint(10)).manifest.periodic


def test_a_step_that_is_being_written_becomes_pinned(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    keeping.keeper.save(state(10), periodic=True)
    gate.wait_for_writer()
    keeping.keeper.save(state(10), order=ORDER)
    gate.open()
    assert_obeyed(keeping, 10)


def test_a_best_state_that_waits_in_memory_becomes_pinned(keeping: Keeping) -> None:
    keeping.keeper.hold_best(state(10))
    keeping.keeper.hold_best(state(20))
    keeping.keeper.save(state(20), order=ORDER)
    assert_obeyed(keeping, 20)


def test_a_pinned_checkpoint_is_told_again_for_a_later_order(keeping: Keeping) -> None:
    """A trainer may be asked at a step that is pinned already: who asked has to hear of it."""
    keeping.keeper.save(state(10), order=ORDER)
    keeping.keeper.save(state(10), order=ORDER + 1)
    keeping.keeper.settle()
    assert [event["order"] for event in keeping.events()] == [ORDER, ORDER + 1]
    assert keeping.obeyed == [ORDER, ORDER + 1]


def test_a_checkpoint_that_became_pinned_stays(keeping: Keeping, tmp_path: Path) -> None:
    keeping.keeper.save(state(10))
    keeping.keeper.save(state(10), order=ORDER)
    keeping.keeper.save(state(20), periodic=True)
    keeping.keeper.save(state(30), periodic=True)
    keeping.keeper.settle()
    assert keeping.on_disk() == [10, 30]
    later = Keeping(tmp_path, Checkpoint(keep_periodic=1))
    later.keeper.save(state(40), periodic=True)
    later.keeper.settle()
    assert later.on_disk() == [10, 40]
