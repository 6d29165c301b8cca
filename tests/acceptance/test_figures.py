"""The figures of docs/performance.md, held by tests.

`make bench` compares medians. A test must not fail because the machine was busy for a second, so here the best of
several turns is compared with the best of the same turns, and there are more turns while a goal is not met yet.
"""

from __future__ import annotations

import pytest

from benchmarks import latency, loops, memory
from benchmarks.own_daemon import own_daemon

TURNS = 6

pytestmark = pytest.mark.alone


@pytest.mark.timeout(240)
def test_the_built_in_loop_beats_the_plain_one_and_comes_near_the_limit() -> None:
    """At least 1.5 times the plain loop's steps/s, and at least 0.95 of the limit's, in two turns out of several."""
    turns: list[dict[str, float]] = []
    while len(turns) < 2 * TURNS:
        turns.append({name: loops.steps_per_second(name, threads=1, steps=1500) for name in ("ours", "plain", "limit")})
        reached = [each for each in turns if each["ours"] >= max(1.5 * each["plain"], 0.95 * each["limit"])]
        if len(reached) == 2:
            return

    pytest.fail(f"steps/s: {turns}")


@pytest.mark.timeout(240)
def test_the_first_step_comes_within_15_and_status_within_8_starts_of_python() -> None:
    with own_daemon() as daemon:
        for _ in range(TURNS):
            taken = latency.take_durations(daemon, repetitions=4)
            start = min(taken.bare_python)
            submit, status = min(taken.to_first_step) / start, min(taken.status) / start
            if submit <= 15 and status <= 8:
                return

    pytest.fail(f"submit to first step: {submit:.1f} starts of python; status: {status:.1f}")


def test_supervisor_and_control_plane_are_resident_in_less_than_150_megabytes() -> None:
    (figure,) = memory.measure()

    assert figure.is_met, str(figure)
