"""Killed just before any of its system calls while it applies commands, a supervisor has applied each of them once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import psutil
import pytest
from strace import KILL, Call, calls_on, spread, under_strace
from waiting_orders import SLOTS, WaitingOrders, are_carried_out, make_waiting_orders, what_was_done

from tests.integration.supervisor.supervisor_harness import Daemon, wait_until

CALLS = (
    *("openat", "mkdir", "pwrite64", "write", "ftruncate", "fsync", "fdatasync", "close", "fcntl", "mmap", "munmap"),
    *("rename", "renameat2", "unlink", "unlinkat", "rmdir", "bind", "connect", "sendto", "sendmsg"),
)
FEWEST_CALLS = 100

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> WaitingOrders:
    return make_waiting_orders(tmp_path_factory.mktemp("orders") / "home")


@pytest.mark.parametrize("trials", [8, pytest.param(math.inf, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])])
def test_a_supervisor_killed_at_any_system_call_has_applied_each_command_once(
    orders: WaitingOrders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: float
) -> None:
    """The next one leaves the same answers, run directories, orders and journal lines as one that nobody disturbed."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # the same calls each time
    calls, expected = undisturbed(orders, tmp_path)
    assert len(calls) > FEWEST_CALLS
    assert {problem for _, problem in expected["answers"]} == {None}
    chosen = spread(calls, trials)

    killed = [is_killed_at(call, orders, tmp_path / str(number), expected) for number, call in enumerate(chosen)]

    print(f"{len(chosen)} of {len(calls)} system calls tried, killed at {sum(killed)}")
    assert sum(killed) > len(chosen) / 2, "the others were not made this time"


def undisturbed(orders: WaitingOrders, tmp_path: Path) -> tuple[list[Call], dict[str, Any]]:
    """What a supervisor does to the home and its neighbours, and what comes of it."""
    log = tmp_path / "undisturbed.calls"
    with orders.copied_to(tmp_path / "undisturbed") as daemon:
        daemon.start_supervisor(SLOTS, under=under_strace([], log, names=CALLS))
        wait_until(lambda: are_carried_out(daemon), lambda: f"the orders are carried out\n{daemon.log()}")
        kill_the_watched(daemon)
        return calls_on(daemon.home.path, log), what_was_done(daemon)


def is_killed_at(call: Call, orders: WaitingOrders, path: Path, expected: dict[str, Any]) -> bool:
    """Whether the supervisor made this call at all; what the next one does is compared in any case."""
    with orders.copied_to(path) as daemon:
        daemon.start_supervisor(SLOTS, under=under_strace([], path.with_suffix(".calls"), injected=[call.to(KILL)]))
        wait_until(lambda: has_died(daemon) or are_carried_out(daemon), lambda: f"{call}\n{daemon.log()}")
        was_killed = has_died(daemon)
        kill_the_watched(daemon)
        daemon.start_supervisor(SLOTS)
        wait_until(lambda: are_carried_out(daemon), lambda: f"after {call}: {daemon.state.runs()}\n{daemon.log()}")
        assert what_was_done(daemon) == expected, call
    return was_killed


def has_died(daemon: Daemon) -> bool:
    assert daemon.supervisor is not None
    return daemon.supervisor.poll() is not None


def kill_the_watched(daemon: Daemon) -> None:
    """Kill the supervisor that strace watches; strace ends with it."""
    assert daemon.supervisor is not None
    for supervisor in [] if has_died(daemon) else psutil.Process(daemon.supervisor.pid).children():
        supervisor.kill()
    daemon.supervisor.wait(timeout=20)
