"""Which checkpoints stay is decided from records alone; last, best and pinned ones always do."""

from hypothesis import given
from hypothesis import strategies as st

from trainerd.training.checkpoints.retention import Kept, kinds, superseded

checkpoints = st.lists(
    st.builds(Kept, step=st.integers(1, 50), periodic=st.booleans(), pinned=st.booleans()),
    min_size=1,
    max_size=12,
    unique_by=lambda each: each.step,
)


def test_the_newest_periodic_ones_stay_and_older_ones_go() -> None:
    history = [Kept(step, periodic=True, pinned=False) for step in (100, 200, 300, 400)]
    assert [each.step for each in superseded(history, best_step=None, keep_periodic=2)] == [100, 200]


def test_a_best_one_stays_until_there_is_a_newer_best() -> None:
    history = [Kept(90, periodic=False, pinned=False), Kept(100, periodic=False, pinned=False)]
    assert superseded(history, best_step=90, keep_periodic=2) == []
    assert [each.step for each in superseded(history, best_step=100, keep_periodic=2)] == [90]


def test_one_checkpoint_may_be_last_best_and_periodic_at_once() -> None:
    only = Kept(100, periodic=True, pinned=False)
    assert kinds(only, [only], best_step=100) == ["last", "best", "periodic"]


@given(checkpoints, st.integers(1, 50), st.integers(1, 4))
def test_last_best_and_pinned_are_never_deleted(history: list[Kept], best_step: int, keep: int) -> None:
    doomed = superseded(history, best_step, keep)
    assert max(each.step for each in history) not in {each.step for each in doomed}
    assert not any(each.pinned or each.step == best_step for each in doomed)
    assert sum(each.periodic for each in set(history) - set(doomed)) >= min(keep, sum(e.periodic for e in history))
