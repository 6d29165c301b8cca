"""A supervisor that outlives its state: when the state is lost or damaged, both are made anew from the logs.

The trainers notice nothing of it. What was damaged is moved aside and named, never repaired and never overwritten.
"""

from __future__ import annotations

import logging
import time

from trainerd.contracts.errors import Damaged
from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.store.agreement import check_log_reaches_state
from trainerd.store.command_log import CommandLogReader
from trainerd.store.state import StateWriter
from trainerd.supervisor.command_desk import CommandDesk
from trainerd.supervisor.gpus import find_gpus
from trainerd.supervisor.journal_folding import JournalFolding
from trainerd.supervisor.loop import Supervisor
from trainerd.supervisor.run_book import RunBook
from trainerd.supervisor.scheduling import Resources
from trainerd.supervisor.worker_link import WorkerLink

_log = logging.getLogger("trainerd.supervisor")
_MOST_LOSSES = (
    30  # within this many seconds; more: something writes to the state again and again, and each keeps a file
)
_LOSSES_SECONDS = 600.0


class LastingSupervisor:
    """The supervisor of `home`, with its state.

    Raises AlreadyRunning where another process writes the state, DiskError where it cannot be used, or the command log
    does not reach as far as it.
    """

    def __init__(self, home: Home, settings: Settings, commands: CommandLogReader) -> None:
        self._home = home
        self._settings = settings
        self._commands = commands
        self._losses: list[float] = []  # time.monotonic() of each
        self._state: StateWriter | None  # None: it was lost, and no new one could be made yet
        self._state, self.supervisor = self._open()

    def tick(self) -> None:
        """One tick on a state that is whole; a lost one is folded anew first. Raises DiskError as the tick does."""
        while True:
            try:
                if self._state is None:
                    self._state, self.supervisor = self._open()
                self._state.check_untouched()
                self.supervisor.tick()
                if self._state.finish():
                    _log.info("the state is whole again")
                    self.supervisor.announce()
                return
            except Damaged as damage:
                self._replace(damage)

    def start_over(self) -> None:
        """Forget what a tick that failed had done so far: the next one finds it again."""
        self.supervisor.start_over()

    def close(self) -> None:
        if self._state is not None:
            self._state.close()

    def _replace(self, damage: Damaged) -> None:
        """Put the state aside, for a new one. Raises the damage where that is no help, or none any more."""
        self._note_loss(damage)
        if self._state is not None:
            _name_loss(damage.message, self._state.abandon())
        self._state = None
        self.supervisor.link.close()

    def _open(self) -> tuple[StateWriter, Supervisor]:
        while True:
            state = None
            try:
                state = self._open_state()
                return state, make_supervisor(self._home, self._settings, self._commands, state)
            except Damaged as damage:  # it was lost again, or holds a run that cannot be read
                self._note_loss(damage)
                _name_loss(damage.message, state.abandon() if state else None)

    def _note_loss(self, damage: Damaged) -> None:
        now = time.monotonic()
        self._losses = [moment for moment in self._losses if moment > now - _LOSSES_SECONDS]
        if damage.path != str(self._home.state) or len(self._losses) >= _MOST_LOSSES:
            raise damage
        self._losses.append(now)

    def _open_state(self) -> StateWriter:
        newest_number = self._commands.newest_number()
        state = StateWriter(self._home.state, new_is_unfinished=newest_number > 0)
        if state.damage:
            _name_loss(state.damage, state.moved_aside)
        elif state.is_unfinished and not self._losses:
            _log.warning("there is no state; folding it anew from the logs")
        check_log_reaches_state(self._home.command_log, newest_number, self._home.state, state.applied_position())
        return state


def make_supervisor(home: Home, settings: Settings, commands: CommandLogReader, state: StateWriter) -> Supervisor:
    """The supervisor of `home` with all its parts."""
    resources = Resources(settings.slots, find_gpus(settings))
    book = RunBook(state)
    journals = JournalFolding(home, book)
    desk = CommandDesk(home, commands, book, journals, len(resources.gpus))
    link = WorkerLink(home.worker_socket, state.epoch)
    return Supervisor(home, book, desk, journals, link, resources)


def _name_loss(why: str, kept: object) -> None:
    where = f"the state was damaged and is kept as {kept}" if kept else "the state was lost"
    _log.error("%s (%s); folding it anew from the logs", where, why)
