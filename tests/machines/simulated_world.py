"""A whole daemon in one thread: real logs, run directories and supervisor; the trainers and their host are played.

Nothing happens by itself: every tick, step and death is a call here. So a sequence of calls is a history, and a test
may choose any. What a machine would lose by SIGKILL is lost here too: what was not written, and nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from tests.machines.simulated_host import SimulatedHost, SimulatedLink
from tests.machines.simulated_trainer import TOTAL_STEPS
from trainerd.contracts.commands import Answer, Command, CommandKind
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.settings import Settings
from trainerd.contracts.states import LIVE, State
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.state import StateWriter
from trainerd.supervisor.lasting import make_supervisor
from trainerd.supervisor.shutdown import shut_down

SLOTS = 2
GPUS = ("GPU-1", "GPU-2")
DUTIES = (
    "hear_worker",
    "apply_new_commands",
    "fold_journals",
    "settle_differences",
    "schedule",
    "commit",
    "tell_worker",
    "announce",
)
_MOVING = LIVE | {State.RETRYING, State.INTERRUPTED, State.BLOCKED}


class SimulatedWorld:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder, folder / "control.sock")
        self.host = SimulatedHost(SLOTS)
        self._log = CommandLog(self.home.command_log)
        self._start_supervisor()

    def close(self) -> None:
        self.await_deletions()
        self._state.close()
        self._commands.close()
        self._log.close()

    # What people do.

    def submit(self, runs: list[dict[str, Any]], key: str) -> Command:
        """Append a submit to the command log. The same key is the same submit."""
        defaults = {"name": "run", "owner": 1000, "request": ""}
        return self._log.append_submit([{**defaults, "spec_yaml": json.dumps(run["spec"]), **run} for run in runs], key)

    def order(self, kind: CommandKind, run: int, key: str, **details: Any) -> Command:
        return self._log.append(kind, {"run": run, **details}, key)

    # What the supervisor does, and what is done to it.

    def tick(self, duty: str = "", happening: Callable[[], None] | None = None) -> None:
        """One tick; `happening` happens in it, just before `duty`."""
        if happening is None:
            self.supervisor.tick()
            return
        owner: Any = self.supervisor.book if duty == "commit" else self.supervisor
        do_duty = getattr(owner, duty)

        def interrupted_duty() -> Any:
            happening()
            return do_duty()

        setattr(owner, duty, interrupted_duty)
        try:
            self.supervisor.tick()
        finally:
            delattr(owner, duty)

    def kill_supervisor(self, duty: str) -> None:
        """SIGKILL just before it does `duty`, and a new one."""

        def die() -> None:
            raise _KilledError

        with suppress(_KilledError):
            self.tick(duty, die)
        self.restart_supervisor()

    def restart_supervisor(self) -> None:
        self._state.close()
        self._commands.close()
        self.host.lose_supervisor()
        self._start_supervisor()

    def lose_state(self) -> None:
        """SIGKILL to the supervisor, its state is deleted, and a new one folds it anew; it has no worker host yet."""
        self._state.close()
        for path in self.home.path.glob("state.sqlite*"):
            path.unlink()
        self._commands.close()
        self.host.lose_supervisor()
        was_up, self.host.is_up = self.host.is_up, False
        self._start_supervisor()
        self.supervisor.tick()
        self.host.is_up = was_up

    def go_down_and_up(self, grace_seconds: float) -> None:
        """`trainerd down`, and `trainerd up`."""
        ticks = count()

        def next_tick() -> None:
            self.move_on()
            assert next(ticks) < 20, f"does not come to an end: {self.records()}"

        shut_down(self.supervisor, next_tick, grace_seconds)
        self.host.die()
        self.restart_supervisor()
        self.host.start()

    def move_on(self, steps: int = 1) -> None:
        """Everybody does what comes next for him."""
        self.supervisor.tick()
        self.host.begin_waiting()
        for trainer in [*self.host.trainers.values()] * steps:
            trainer.work()
        self.host.reap()
        self.supervisor.tick()

    # What becomes of it all.

    def settle(self) -> None:
        """Nobody orders anything any more, and nothing dies: trainers train to their end, until nothing moves."""
        self.host.start()
        for _ in range(100):
            before = self.records()
            self.move_on(steps=TOTAL_STEPS)
            if self.records() == before and not any(run.state in _MOVING for run in before):
                self.await_deletions()
                self.supervisor.tick()  # it goes on with what was removed while it deleted
                self.await_deletions()
                return
        raise AssertionError(f"does not come to rest: {[(run.id, str(run.state)) for run in self.records()]}")

    def await_deletions(self) -> None:
        """What supervisors delete, they delete in threads."""
        for thread in threading.enumerate():
            if thread.name == "deletion":
                thread.join()

    def records(self) -> list[RunRecord]:
        """All runs, oldest first, as the state holds them."""
        return list(reversed(self._state.runs()))

    def answers(self) -> list[Answer]:
        found = [self._state.answer(number) for number in range(1, self._state.applied_position() + 1)]
        return [answer for answer in found if answer]

    def directory(self, run_id: int) -> RunDirectory:
        return RunDirectory(self.home.run(run_id))

    def _start_supervisor(self) -> None:
        self._state = StateWriter(self.home.state)
        self._commands = CommandLogReader(self.home.command_log)
        settings = Settings(slots=SLOTS, gpus=GPUS)
        self.supervisor = make_supervisor(self.home, settings, self._commands, self._state)
        self.supervisor.link = SimulatedLink(self.host, self._state.epoch)


class _KilledError(BaseException):
    """SIGKILL."""
