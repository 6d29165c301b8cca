"""`trainerd rebuild`: makes the state of a home anew from the command log and the run directories, and starts nothing.

The same replay with which a supervisor answers the loss of its state, ordered by a person while no daemon is up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainerd.contracts.errors import AlreadyRunning, DiskError, StateAway
from trainerd.contracts.locks import PlaceLock, holder_of
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import run_ids
from trainerd.contracts.settings import Settings
from trainerd.contracts.states import State
from trainerd.store.command_log import CommandLogReader
from trainerd.store.state import StateReader, StateWriter, move_aside
from trainerd.supervisor.lasting import make_supervisor


@dataclass(frozen=True)
class Rebuilt:
    """What has come out."""

    runs: dict[State, int]  # how many in each state
    commands: int  # applied or refused again
    kept: Path | None  # the state before; None where there was none


def rebuild_state(home: Home, settings: Settings) -> Rebuilt | None:
    """Rebuild the state, and keep the old one beside it; None where there is nothing to rebuild it from.

    Raises AlreadyRunning while a part of a daemon lives on `home`, DiskError where the command log is lost or cannot be
    read, or the new state cannot be written.
    """
    if not any(path.exists() for path in (home.command_log, home.state, home.runs)):
        return None
    with _alone(home):
        commands = CommandLogReader(home.command_log)
        if not commands.newest_number():
            _refuse_without_log(home)
            return None
        kept = move_aside(home.state, "replaced")
        state = StateWriter(home.state, new_is_unfinished=True)
        try:
            _replay(home, settings, commands, state)
            return Rebuilt(state.count_by_state(), state.applied_position(), kept)
        finally:
            state.close()
            commands.close()


def _replay(home: Home, settings: Settings, commands: CommandLogReader, state: StateWriter) -> None:
    """One tick: from an empty state it applies every command and folds every journal to its end."""
    supervisor = make_supervisor(home, settings, commands, state)
    supervisor.is_closing = True
    supervisor.tick()
    state.finish()


def _refuse_without_log(home: Home) -> None:
    """Raises DiskError where there were commands once: an empty state in the place of the old one would lose them."""
    directories = len(run_ids(home.runs))
    if directories or _applied_position(home):
        raise DiskError(
            f"holds no command, though there are {directories} run directories: without the command log the state "
            "cannot be rebuilt, and nothing was changed. Put the log back (with its -wal file). Where there is none, "
            f"move it and {home.state.name} away: the daemon then begins with an empty queue, and the run directories "
            "stay",
            str(home.command_log),
        )


def _applied_position(home: Home) -> int:
    """As the state says; 0 where it cannot say any more."""
    state = StateReader(home.state)
    try:
        return state.applied_position()
    except (DiskError, StateAway):
        return 0
    finally:
        state.close()


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """No daemon lives here, and neither a daemon nor a supervisor can come up meanwhile. Raises AlreadyRunning.

    A control plane or a worker host that somebody starts alone meanwhile does no harm: neither writes the state.
    """
    with ExitStack() as held:
        for part, what in (("up", "daemon"), ("supervisor", "supervisor")):
            held.callback(PlaceLock(home.lock(part), what).release)
        for part in ("control", "worker"):
            if (holder := holder_of(home.lock(part))) is not None:
                raise AlreadyRunning(f"trainerd {part}", str(home.path), holder)
        yield
