"""Whether command log and state belong together: the state may lag behind the log, never the log behind the state."""

from __future__ import annotations

from pathlib import Path

from trainerd.contracts.errors import DiskError


def check_log_reaches_state(command_log: Path, newest_number: int, state: Path, applied_position: int) -> None:
    """Raises DiskError where the state has applied commands that the log does not hold.

    Such a log is another one, or an older copy: its next commands would get numbers that count as applied already, and
    would never be carried out.
    """
    if newest_number < applied_position:
        raise DiskError(
            f"ends at command {newest_number}, but {state} has applied command {applied_position}: this is another or "
            f"an older command log. Put the right one back (with its -wal file), or {_instead(newest_number)}",
            str(command_log),
        )


def _instead(newest_number: int) -> str:
    if newest_number:
        return "fold the state anew from this log and the run directories with: trainerd rebuild"
    return (
        "move it and the state away: the daemon then begins with an empty queue, and the directories of the runs that "
        "there were stay as they are"
    )
