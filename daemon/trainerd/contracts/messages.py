"""What travels over worker.sock: one JSON object a line, one connection a conversation.

Two conversations, told apart by the first line from the client:

    {"type": "inspect", ...}     control plane: one connection is one inspection. The worker host forks an inspector
                                 that inherits the connection, writes one `Inspected` line and exits. End of file
                                 without a line means that the inspector died or was killed at its limit.
    {"type": "supervise", ...}   supervisor: stays open. Agreement is by level: on connecting, the host answers with
                                 what is running; `start` and `kill` are idempotent by (run, attempt).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Inspect:
    """Compose, validate and check a configuration and its data, under the caller's limits."""

    path: str  # absolute path of the configuration, for relative paths and messages
    text: str
    overrides: list[str] = field(default_factory=list)
    limit_seconds: float = 60.0
    run_dir: str | None = None  # of a run that is to go on: its newest checkpoint is compared with all this
    accept_changed_data: bool = False  # whether other data than the checkpoint's is no reason to refuse
    type: ClassVar[str] = "inspect"


@dataclass(frozen=True)
class Inspected:
    """The inspector's answer: a resolved specification (JSON and YAML), or all that is wrong with it."""

    spec: dict[str, Any] | None
    spec_yaml: str | None
    findings: list[dict[str, Any]]  # why it is refused; empty if it is not
    warnings: list[dict[str, Any]]
    changes: list[dict[str, Any]] = field(default_factory=list)  # key, was, now, verdict (kept, applied, refused), why
    accepted_data: str | None = None  # fingerprint of the data, where it has changed and that was accepted
    type: ClassVar[str] = "inspected"


@dataclass(frozen=True)
class Supervise:
    """The supervisor introduces itself. A lower epoch than the highest seen is shut out."""

    epoch: int
    type: ClassVar[str] = "supervise"


@dataclass(frozen=True)
class Start:
    """Start attempt `attempt` of a run. Refused if not newer than the last attempt seen of that run."""

    run: int
    attempt: int
    run_dir: str
    settled_order: int  # orders on the page up to this number are not for this attempt
    gpus: list[str]  # UUIDs; empty: none is visible
    accepted_data: str | None = None  # fingerprint of changed data that a person has accepted
    type: ClassVar[str] = "start"


@dataclass(frozen=True)
class Kill:
    """SIGKILL the trainer of this attempt, if it lives."""

    run: int
    attempt: int
    type: ClassVar[str] = "kill"


@dataclass(frozen=True)
class Quit:
    """End in an orderly way once no trainer is left."""

    type: ClassVar[str] = "quit"


@dataclass(frozen=True)
class Running:
    """What lives: sent when a supervisor connects, and whenever it changes (also when `ended` was written)."""

    trainers: list[dict[str, int]]  # run, attempt, pid, stalled (1: it shows no sign of life)
    type: ClassVar[str] = "running"


@dataclass(frozen=True)
class Refused:
    """An order that the host did not take, and why; `run` and `attempt` where this attempt will never start.

    Without them it is the connection or the host that cannot take it: a fenced-off supervisor, or a host that ends.
    """

    why: str
    run: int | None = None
    attempt: int | None = None
    type: ClassVar[str] = "refused"


Message = Inspect | Inspected | Supervise | Start | Kill | Quit | Running | Refused
_TYPES: dict[str, type[Any]] = {
    kind.type: kind for kind in (Inspect, Inspected, Supervise, Start, Kill, Quit, Running, Refused)
}


def encode(message: Message) -> bytes:
    return json.dumps({"type": message.type, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message on one line. Raises ValueError where it is none of ours."""
    document = json.loads(line)
    try:
        kind = _TYPES[document.pop("type")]
        return kind(**document)  # type: ignore[no-any-return]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message of trainerd: {line[:200]!r}") from error


class Connection:
    """A stream socket that carries messages. Works for blocking and non-blocking sockets alike."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._received = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: Message) -> None:
        """Send the whole message. Raises OSError where the peer is gone, or does not read for the socket's timeout."""
        self.socket.sendall(encode(message))

    def receive_available(self) -> list[Message] | None:
        """The messages that one recv(2) completes; None once the peer has closed."""
        data = self.socket.recv(1 << 16)
        if not data:
            return None
        return list(self._split(data))

    def receive(self) -> Message | None:
        """The next message, waiting for it; None once the peer has closed. For conversations of one answer."""
        while True:
            messages = self.receive_available()
            if messages is None:
                return None
            if messages:
                return messages[0]

    def close(self) -> None:
        self.socket.close()

    def _split(self, data: bytes) -> Iterator[Message]:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            yield decode(line)
