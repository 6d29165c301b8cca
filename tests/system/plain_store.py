"""`python plain_store.py log|state HOME`: appends to a command log, or to a state; tells what it was told, and goes on.

Each of NUMBERS is one transaction. Where the file cannot be opened it is opened once more. What is neither stored nor
refused by DiskError ends it with a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.errors import DiskError
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.state import StateReader, StateWriter

NUMBERS = range(1, 6)
LOG, STATE = "commands.sqlite", "state.sqlite"

Store = Callable[[int], object]


def main(kind: str, home: Path) -> None:
    store = opened({"log": open_log, "state": open_state}[kind], home)
    for number in NUMBERS:
        try:
            store(number)
        except DiskError as error:
            tell(f"{number} refused: {error}")
        else:
            tell(f"{number} stored")


def opened(open_one: Callable[[Path], Store], home: Path) -> Store:
    try:
        return open_one(home)
    except DiskError as error:
        tell(f"opening refused: {error}")
        return open_one(home)


def open_log(home: Path) -> Store:
    log = CommandLog(home / LOG)
    return lambda number: log.append_submit([{"name": f"run {number}", "text": "x" * 9000}], str(number))


def open_state(home: Path) -> Store:
    state = StateWriter(home / STATE)

    def store(number: int) -> None:
        with state.transaction() as changes:
            changes.answer(number, {"detail": "x" * 9000})

    return store


def what_is_read(kind: str, home: Path) -> set[int]:
    """The numbers that whoever opens the file anew finds in it."""
    if kind == "state":
        state = StateReader(home / STATE)
        return {number for number in NUMBERS if state.answer(number)}
    commands = CommandLogReader(home / LOG).after(0)
    assert [command.number for command in commands] == list(range(1, len(commands) + 1))
    assert [command.body["runs"][0]["id"] for command in commands] == list(range(1, len(commands) + 1))
    return {int(command.key) for command in commands if command.kind is CommandKind.SUBMIT}


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
