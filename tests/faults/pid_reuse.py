"""`pid_reuse.py CASE FOLDER`: what the daemon does to a stranger who has got the number of one of its dead processes.

Run as the first process of a PID namespace of its own (`unshare --pid --fork --mount-proc`), where the next number can
be chosen. Prints `spared` where no signal has reached the stranger.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts.locks import PlaceLock, holder_of
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.embedded import down
from trainerd.embedded.last_daemon import wait_for_last_daemon
from trainerd.worker import trainers

_NEXT = Path("/proc/sys/kernel/ns_last_pid")  # the number before the one that the next process gets


def stranger(number: int, standard_error: Path = Path(os.devnull)) -> int:
    """A process of this number, leader of a session of its own, that lets every signal wait."""
    _NEXT.write_text(str(number - 1))
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.dup2(os.open(standard_error, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.write(tell, b"x")
        while True:
            signal.pause()
    os.read(ready, 1)
    assert pid == number, (pid, number)
    return pid


def is_spared(pid: int) -> bool:
    """No signal waits for it, and none has killed it: what has been sent is seen here at once."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    return fields["State"][0] in "RS" and int(fields["SigPnd"], 16) == int(fields["ShdPnd"], 16) == 0


def die(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def holder_of_a_lock(path: Path) -> int:
    """A process that holds the lock of a part of a daemon."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = PlaceLock(path, "daemon")
        os.write(tell, b"x")
        signal.pause()
        lock.release()
    os.read(ready, 1)
    return pid


def a_run(folder: Path, trainer: int) -> RunDirectory:
    """The directory of a run whose trainer of this number is dead."""
    directory = RunDirectory(folder)
    directory.lock.write_text(str(trainer))
    directory.log.touch()
    return directory


def dead_trainer(folder: Path) -> int:
    number = random.randrange(1000, 30000)
    other = stranger(number)
    assert trainers._is_free(a_run(folder, number))
    return other


def left_behind_that_has_died_meanwhile(folder: Path) -> int:
    """It was found, and dies before it is killed; its number is given away in this very moment."""
    number, find = random.randrange(1000, 30000), trainers._left_behind_by
    directory = a_run(folder, number)
    stranger(number, directory.log)

    def find_and_give_away(trainer: int, of: RunDirectory) -> list[int]:
        found = find(trainer, of)
        assert found == [number]
        die(number)
        stranger(number)
        return found

    trainers._left_behind_by = find_and_give_away
    assert not trainers._is_free(directory)
    return number


def dead_daemon(folder: Path) -> int:
    home = Home(folder, folder / "control.sock")
    number = holder_of_a_lock(home.lock("up"))
    die(number)
    assert home.lock("up").read_text() == str(number)
    other = stranger(number)
    assert holder_of(home.lock("up")) is None
    wait_for_last_daemon(home, 0.0, print)
    assert down.stop_daemon(home, print) == 0
    return other


def daemon_that_has_died_meanwhile(folder: Path) -> int:
    """It dies after `trainerd down` has asked for its number; a stranger has it before anything is sent."""
    home = Home(folder, folder / "control.sock")
    number = holder_of_a_lock(home.lock("up"))
    is_given_away = False

    def ask_and_give_away(path: Path) -> int | None:
        nonlocal is_given_away
        holder = holder_of(path)
        if not is_given_away:
            is_given_away = True
            die(number)
            stranger(number)
        return holder

    down.holder_of = ask_and_give_away
    assert down.stop_daemon(home, print) == 0
    return number


CASES: dict[str, Callable[[Path], int]] = {
    case.__name__: case
    for case in (dead_trainer, left_behind_that_has_died_meanwhile, dead_daemon, daemon_that_has_died_meanwhile)
}

if __name__ == "__main__":
    other = CASES[sys.argv[1]](Path(sys.argv[2]))
    print("spared" if is_spared(other) else "signalled")
