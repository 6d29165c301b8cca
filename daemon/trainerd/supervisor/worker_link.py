"""The connection to the worker host: what lives there, and what is said to it.

It may break at any moment: then nothing is known until the host has answered anew. Nothing here decides anything.
"""

from __future__ import annotations

import logging
import select
from pathlib import Path

from trainerd.contracts import unix_sockets
from trainerd.contracts.messages import Connection, Kill, Message, Quit, Refused, Running, Start, Supervise
from trainerd.contracts.run_record import RunRecord
from trainerd.supervisor.agreement import Attempt

_log = logging.getLogger(__name__)
_SEND_TIMEOUT_SECONDS = 5.0


class WorkerLink:
    """Speaks to the worker host in the name of one supervisor, told from others by its fencing epoch."""

    def __init__(self, socket_path: Path, epoch: int) -> None:
        self._path = socket_path
        self._epoch = epoch
        self._connection: Connection | None = None
        self._forget()

    @property
    def connection(self) -> Connection | None:
        """What to wait on for news; None while the host cannot be reached."""
        return self._connection

    def hear(self) -> None:
        """Connect if need be, and take in all that the host has said; never waits for it."""
        if self._connection is None:
            self._connect()
        while self._connection is not None and _is_readable(self._connection):
            self._take_in(self._connection)

    def start(self, record: RunRecord, run_dir: Path) -> None:
        """Have this attempt started, once per connection."""
        self.announced.add((record.id, record.attempt))
        self._say(
            Start(
                record.id,
                record.attempt,
                str(run_dir),
                record.settled_order,
                list(record.gpus),
                record.accepted_data,
            )
        )

    def take_refusals(self) -> dict[Attempt, str]:
        """The attempts that the host will not start, and why: each is told once."""
        taken = dict(self._refusals)
        self._refusals.clear()
        self.announced -= set(taken)
        return taken

    def kill(self, attempt: Attempt) -> None:
        """Have the trainer of this attempt killed, once per connection."""
        if attempt not in self._killed:
            self._killed.add(attempt)
            self._say(Kill(*attempt))

    def quit(self) -> None:
        """Have the host end, now that no trainer is left."""
        self._say(Quit())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._forget()

    def _forget(self) -> None:
        self.living: dict[Attempt, int] | None = None  # the trainers' PIDs; None until the host has said
        self.announced: set[Attempt] = set()  # told to start, and not yet seen living
        self.stalled: set[Attempt] = set()  # living, and without a sign of life for longer than usual
        self._killed: set[Attempt] = set()
        self._refusals: dict[Attempt, str] = {}

    def _connect(self) -> None:
        try:
            sock = unix_sockets.connect(self._path, timeout_seconds=_SEND_TIMEOUT_SECONDS)
        except OSError:
            return
        self._connection = Connection(sock)
        self._forget()  # also what was asked of the host before, while nobody heard it
        self._say(Supervise(self._epoch))

    def _take_in(self, connection: Connection) -> None:
        try:
            messages = connection.receive_available()
        except (OSError, ValueError) as error:
            self._lose(str(error))
            return
        if messages is None:
            self._lose("it closed the connection")
        for message in messages or ():
            self._understand(message)

    def _understand(self, message: Message) -> None:
        if isinstance(message, Running):
            self.living = {(trainer["run"], trainer["attempt"]): trainer["pid"] for trainer in message.trainers}
            self.stalled = {(one["run"], one["attempt"]) for one in message.trainers if one.get("stalled")}
            self.announced -= set(self.living)
        elif isinstance(message, Refused):
            is_wanted = (message.run, message.attempt) in self._killed
            _log.log(logging.INFO if is_wanted else logging.ERROR, "the worker host refused an order: %s", message.why)
            if message.run is not None and message.attempt is not None:
                self._refusals[message.run, message.attempt] = message.why

    def _say(self, message: Message) -> None:
        if self._connection is None:
            return
        try:
            self._connection.send(message)
        except OSError as error:
            self._lose(str(error))

    def _lose(self, why: str) -> None:
        _log.warning("lost the worker host: %s", why)
        self.close()


def _is_readable(connection: Connection) -> bool:
    look = select.poll()  # select(2) takes no descriptor above 1023
    look.register(connection, select.POLLIN)
    return bool(look.poll(0))
