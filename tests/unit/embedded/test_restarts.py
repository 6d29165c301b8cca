"""How soon a process of the embedded daemon is started again."""

from __future__ import annotations

from trainerd.embedded.part import seconds_before_restart


def test_one_that_dies_at_its_start_waits_longer_each_time_up_to_a_limit() -> None:
    waits = [0.0]
    for _ in range(10):
        waits.append(seconds_before_restart(waits[-1], was_steady=False))

    assert waits[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 10.0


def test_one_that_had_come_up_is_back_at_once() -> None:
    assert seconds_before_restart(waited_seconds=10.0, was_steady=True) == 0
