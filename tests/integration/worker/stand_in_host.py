"""A real worker host, with real forks and sockets, whose trainers do what the file `behaviour` in their directory says.

Usage: stand_in_host.py HOME GRACE_SECONDS. Without torch, so it is there at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts import unix_sockets
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.messages import Connection, Inspect, Inspected
from trainerd.contracts.processes import become_subreaper
from trainerd.contracts.run_directory import RunDirectory
from trainerd.worker.host import WorkerHost
from trainerd.worker.inspections import Inspections
from trainerd.worker.trainer_process import be_trainer
from trainerd.worker.trainers import Trainers


def stand_in_training(
    directory: RunDirectory, *, attempt: int, settled_order: int, accepted_data: str | None, say: Callable[[str], None]
) -> int:
    journal = Journal(directory.events, attempt)
    behaviour = (directory.path / "behaviour").read_text()
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    journal.record(Event.STARTED, pid=os.getpid(), gpus=os.environ["CUDA_VISIBLE_DEVICES"], settled=settled_order)
    say(f"attempt {attempt} does: {behaviour}")
    if behaviour == "raise":
        raise RuntimeError("user code is broken")
    if behaviour.startswith("leave a process behind"):
        leave_a_process_behind(directory.path / "left_behind", behaviour)
    if behaviour in ("wait", "hold out"):
        wait_for(lambda: bool(asked) and behaviour == "wait", seconds=600)
    state = "interrupted" if asked else "completed"
    reason = None if asked else "finished"
    journal.record(Event.FINISHING, state=state, reason=reason, step=9, epoch=3, error=None, monitor=None, model=None)
    return 75 if asked else 0


def leave_a_process_behind(path: Path, how: str) -> None:
    """One that writes its PID to `path`; perhaps as a daemon does: in a session of its own, its parent gone, no log."""
    if os.fork() == 0:
        if "as a daemon" in how:
            os.setsid()
            os.closerange(0, 3)
            if os.fork():
                os._exit(0)
        path.write_text(str(os.getpid()))
        time.sleep(600)
    wait_for(lambda: path.exists() and bool(path.read_text()))


def stand_in_inspection(request: Inspect, connection: Connection) -> int:
    if request.text == "leave a process behind":
        leave_a_process_behind(Path(request.path), "as a daemon")
    if request.text == "hang":
        time.sleep(600)
    if request.text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    connection.send(Inspected({"text": request.text}, "", [], []))
    return 0


def wait_for(is_true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.005)


def main() -> None:
    home, grace_seconds = Path(sys.argv[1]), float(sys.argv[2])
    become_subreaper()
    with unix_sockets.bind(home / "worker.sock") as listener:
        listener.listen()
        trainers = Trainers(lambda start: be_trainer(start, stand_in_training), hang_seconds=300.0)
        WorkerHost(listener, trainers, Inspections(stand_in_inspection), grace_seconds=grace_seconds).serve()


if __name__ == "__main__":
    main()
