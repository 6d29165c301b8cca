"""What a home holds of runs that nobody has ordered: its command log has been lost, and another one has begun."""

from __future__ import annotations

from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import run_ids
from trainerd.store.command_log import CommandLogReader


def warn_of_unknown_runs(commands: CommandLogReader, home: Home) -> list[str]:
    """A warning while no command has been given and there are run directories: an empty queue says nothing of them."""
    directories = len(run_ids(home.runs)) if commands.newest_number() == 0 else 0
    if not directories:
        return []
    warning = (
        f"{home.command_log} is empty, and {home.runs} holds {directories} run directories: the orders that made them "
        "are lost. They stay as they are, and their numbers are not used again. To have these runs back, end the "
        "daemon and put the command log back (with its -wal file)"
    )
    return [warning]
