"""`python plain_store.py log|state HOME [COUNT]`: appends to a command log, or to a state, and tells what it was told.

Each of COUNT numbers is one transaction; where one is refused it goes on with the next. Where the file cannot be opened
it is tried OPENED_AGAIN times more. What is neither stored nor refused by DiskError ends it with a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.errors import DiskError
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.state import StateReader, StateWriter

COUNT = 5
OPENED_AGAIN = 2  # as often as a disk is full that is full for two calls; one without power stays as it is
LOG, STATE = "commands.sqlite", "state.sqlite"

Opened = tuple[Callable[[int], object], Callable[[], None]]  # stores a number; closes the file


def main(kind: str, home: Path, count: int = COUNT) -> None:
    tell("begins")
    store, close = opened(OPENERS[kind], home)
    for number in range(1, count + 1):
        try:
            store(number)
        except DiskError as error:
            tell(f"{number} refused: {error}")
        else:
            tell(f"{number} stored")
    close()


def store_one(kind: str, home: Path, number: int) -> None:
    """One transaction more, by a writer that opens the file anew. Raises DiskError."""
    store, close = OPENERS[kind](home)
    store(number)
    close()


def opened(open_one: Callable[[Path], Opened], home: Path) -> Opened:
    for _ in range(OPENED_AGAIN):
        try:
            return open_one(home)
        except DiskError as error:
            tell(f"opening refused: {error}")
    return open_one(home)


def open_log(home: Path) -> Opened:
    log = CommandLog(home / LOG)

    def store(number: int) -> None:
        log.append_submit([{"name": f"run {number}", "text": "x" * 9000}], str(number))

    return store, log.close


def open_state(home: Path) -> Opened:
    state = StateWriter(home / STATE)

    def store(number: int) -> None:
        with state.transaction() as changes:
            changes.answer(number, {"detail": "x" * 9000})

    return store, state.close


OPENERS = {"log": open_log, "state": open_state}


def what_is_read(kind: str, home: Path, count: int = COUNT) -> set[int]:
    """The numbers that whoever opens the file anew finds in it."""
    if kind == "state":
        with closing(StateReader(home / STATE)) as state:
            return {number for number in range(1, count + 1) if state.answer(number)}
    with closing(CommandLogReader(home / LOG)) as log:
        commands = log.after(0, count)
    assert [command.body["runs"][0]["id"] for command in commands] == list(range(1, len(commands) + 1))
    return {int(command.key) for command in commands if command.kind is CommandKind.SUBMIT}


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *(int(count) for count in sys.argv[3:]))
