"""A home with a real supervisor process, a real command log, and a worker host that the tests play."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.patient_state import PatientState
from tests.polling import poll
from trainerd.contracts.commands import CommandKind
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State
from trainerd.contracts.unix_sockets import send_wake_up
from trainerd.store.command_log import CommandLog

DEADLINE_SECONDS = 15.0

SUPERVISOR = """
import logging, sys
from pathlib import Path
from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.supervisor.process import run_supervisor
logging.basicConfig(level="INFO", stream=sys.stderr)
home = Path(sys.argv[1])
home.joinpath("runs").mkdir(exist_ok=True)
sys.exit(run_supervisor(Home(home, home / "control.sock"), Settings(slots=int(sys.argv[2]), grace_seconds=0.5)))
"""


class Daemon:
    """A home with a supervisor that can be killed and started again; the test plays the control plane's part."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path, path / "control.sock")
        self.commands = CommandLog(self.home.command_log)
        self.state = PatientState(self.home.state)
        self.supervisor: subprocess.Popen[str] | None = None

    def start_supervisor(self, slots: int = 1, under: Sequence[str | Path] = ()) -> None:
        """In a process of its own, which the command `under` starts and watches where one is given."""
        arguments = [*under, sys.executable, "-c", SUPERVISOR, str(self.home.path), str(slots)]
        log = (self.home.path / "supervisor.log").open("a")
        self.supervisor = subprocess.Popen(arguments, stderr=log, text=True)
        log.close()

    def kill_supervisor(self) -> None:
        assert self.supervisor is not None
        self.supervisor.kill()
        self.supervisor.wait()

    def damage_state(self) -> None:
        self.state.close()
        self.home.state.write_bytes(b"no database" * 1000)
        for part in ("-wal", "-shm"):  # from its write-ahead log SQLite would mend the file
            self.home.state.with_name(self.home.state.name + part).unlink()

    def wait_until_damage_is_named(self) -> None:
        wait_until(lambda: "the state was damaged and is kept as" in self.log(), lambda: "the damage to be named")

    def log(self) -> str:
        return (self.home.path / "supervisor.log").read_text()

    def submit(self, *runs: dict[str, Any]) -> list[int]:
        bodies = [{**a_submission(), **run} for run in runs]
        command = self.commands.append_submit(bodies, f"submit-{time.monotonic_ns()}")
        send_wake_up(self.home.wake_socket)
        return [run["id"] for run in command.body["runs"]]

    def order(self, kind: CommandKind, run: int, **body: Any) -> int:
        number = self.commands.append(kind, {"run": run, **body}, f"{kind}-{time.monotonic_ns()}").number
        send_wake_up(self.home.wake_socket)
        return number

    def wait_for(self, run: int, state: State) -> RunRecord:
        def is_there() -> bool:
            record = self.state.run(run)
            return record is not None and record.state is state

        wait_until(is_there, lambda: f"run {run} to be {state}: {self.state.run(run)}\n{self.log()}")
        record = self.state.run(run)
        assert record is not None
        return record

    def problem_of(self, number: int) -> dict[str, Any] | None:
        wait_until(lambda: self.state.answer(number) is not None, lambda: f"an answer to command {number}")
        answer = self.state.answer(number)
        assert answer is not None
        return answer.problem

    def outcome(self, run: int) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(RunDirectory(self.home.run(run)).outcome.read_text())
        return document

    def lose_state(self) -> None:
        """Kill the supervisor, damage the state, and have the next supervisor fold it anew."""
        self.kill_supervisor()
        self.damage_state()
        self.start_supervisor()
        self.wait_until_damage_is_named()

    def events(self, run: int) -> list[str]:
        lines, _ = read_lines(RunDirectory(self.home.run(run)).events)
        return [line["event"] for line in lines]


def a_submission() -> dict[str, Any]:
    spec = {
        "resources": {"gpus": 0, "cpus": None},
        "trainer": {"device": "cpu"},
        "retry": {"max_failures": 2, "backoff_seconds": 0.1},
    }
    wishes = {"priority": 0, "after": None, "hold": False}
    return {"name": "overnight", "spec": spec, "spec_yaml": "name: overnight\n", "owner": 1000, **wishes}


def wait_until(is_true: Callable[[], bool], describe: Callable[[], str]) -> None:
    poll(is_true, describe, DEADLINE_SECONDS)
