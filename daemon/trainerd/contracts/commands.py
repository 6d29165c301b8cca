"""What people have asked for: the records of the command log.

Only the control plane appends them; the supervisor applies each exactly once and answers each once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class CommandKind(StrEnum):
    """submit, or a verb of contracts.states.Verb. `body` holds what the kind needs:

    submit: {"runs": [{"id", "name", "spec", "spec_yaml", "owner", "priority", "after", "hold", "request"}]}, all or
            none. "request" is the digest of what was sent: by it a repeated submit is known without checking it again.
    pause, kill, cancel, checkpoint, remove: {"run": id}
    stop:   {"run": id, "checkpoint": bool}
    resume, retry: {"run": id, "request": digest of what was sent, "spec": the changed one or null, "spec_yaml": its
            text or null, "accepted_data": fingerprint of changed data that a person accepts, or null}
    move:   {"run": id, "priority": int or null, "first": bool, "before": id or null}: exactly one of the three
    """

    SUBMIT = "submit"
    PAUSE = "pause"
    RESUME = "resume"
    CHECKPOINT = "checkpoint"
    STOP = "stop"
    KILL = "kill"
    CANCEL = "cancel"
    RETRY = "retry"
    REMOVE = "remove"
    MOVE = "move"


@dataclass(frozen=True)
class Command:
    """One acknowledged order: on disk, with a number that only grows."""

    number: int
    time: str  # ISO 8601
    kind: CommandKind
    body: dict[str, Any]
    key: str  # idempotency key: the same key is the same command


@dataclass(frozen=True)
class Answer:
    """What became of a command: None in `problem` means applied; else a problem+json document says why not."""

    number: int
    problem: dict[str, Any] | None
