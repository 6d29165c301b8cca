"""Which runs have been removed, and by which command: a list beside the run directories, a line for each removal.

So one who folds the state anew finds neither the run nor a reason to bear it again, and its id is never given again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.durable_files import replace_durably
from trainerd.contracts.json_lines import JsonLinesWriter, encode_line
from trainerd.contracts.run_directory import run_ids

_log = logging.getLogger(__name__)
_LIST = "removed.jsonl"


def read_removals(runs: Path) -> dict[int, int]:
    """The runs that have been removed here, and the command that removed each. A damaged line is named, and lost."""
    try:
        *lines, _torn = (runs / _LIST).read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    removals = {}
    for line in lines:
        try:
            document = json.loads(line)
            removals[int(document["run"])] = int(document["command"])
        except (ValueError, KeyError, TypeError):
            _log.warning("%s: a damaged line is passed over: %r", runs / _LIST, line[:80])
    return removals


def removals_of_log(runs: Path, command_of: Callable[[int], Command | None]) -> dict[int, int]:
    """The removals that the command log knows: another log may have stood here before, and proves nothing."""
    found = {}
    for run_id, number in read_removals(runs).items():
        command = command_of(number)
        if command and command.kind is CommandKind.REMOVE and command.body["run"] == run_id:
            found[run_id] = number
    return found


def newest_id(runs: Path) -> int:
    """The highest id of a run that is or was here; 0 if none ever was."""
    return max([*run_ids(runs), *read_removals(runs)], default=0)


def note_removal(runs: Path, run_id: int, command_number: int) -> None:
    """On disk when this returns; noted once. Raises OSError."""
    if read_removals(runs).get(run_id) == command_number:
        return
    removals = JsonLinesWriter(runs / _LIST)
    try:
        removals.append({"run": run_id, "command": command_number})
        removals.sync()
    finally:
        removals.close()


def forget_removal(runs: Path, run_id: int) -> None:
    """The run could not be removed after all. Raises OSError."""
    others = {run: number for run, number in read_removals(runs).items() if run != run_id}
    text = "".join(encode_line({"run": run, "command": number}) for run, number in others.items())
    replace_durably(runs / _LIST, text)
