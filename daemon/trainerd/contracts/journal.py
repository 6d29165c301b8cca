"""The journal of a run (events.jsonl): what happened in it. State is folded from it, so its events are a contract.

One writer at a time: the supervisor until hand-over, the trainer while it lives, the worker host after it has reaped.
Every line carries `time`, `event` and `attempt` (0 before the first start). A damaged line is lost, and nothing else:
readers pass over it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainerd.contracts.json_lines import JsonLinesWriter, MakeRoom, raw_lines_backwards


class Event(StrEnum):
    """What a journal line may be, with the fields that it carries beside time, event and attempt.

    ADMITTED (supervisor): run, name, owner, command, priority, submitted_at.
    MOVED (supervisor): command, priority, place: where an order has put the run in the queue.
    REQUEUED (supervisor): command: an order has queued a cancelled run again that waits for another one.
    STARTING (supervisor): gpus [UUID], settled_order, checkpoint_order (number of a checkpoint order that is given
        again, or null), applied (number of the newest command that was applied before this was decided).
    STARTED (trainer): pid, hostname, versions {torch, numpy, python}, device, threads, steps_per_epoch, max_epochs,
        train_samples, val_samples, parameters, monitor {name, mode} or null, patience or null, gpus [UUID].
    RESUMED (trainer, after STARTED): step, epoch, checkpoint (directory name), differences [str] (of the environment
        and the data), changes [{key, was, now, verdict: kept or applied}] (of the configuration), exactness.
    FIRST_STEP (trainer): step: the first update of this attempt is done.
    EPOCH (trainer, one per finished epoch): epoch, step, train_loss, val_loss or null, metrics {name: value}, seconds,
        best {value, epoch, step} or null, epochs_since_best or null.
    CHECKPOINT (trainer): step, epoch, path (directory name), bytes, kind (periodic, best, pinned, last), seconds (from
        the snapshot until it was durable), order (number on the orders page of the order that it obeys, or null).
    CHECKPOINT_SKIPPED (trainer): path, why: it did not verify and was kept aside.
    REPLAY_DIFFERED (trainer): step, split, key (batch, or a metric's name), was, now, exactness: the first replayed
        value that was not repeated.
    REPLAYED (trainer): step (the last one replayed), steps (how many were compared), exactness: every step that an
        earlier attempt had done is done again.
    ASKED (trainer): order (stop, stop_without_checkpoint, pause, interrupt, checkpoint), step.
    PAUSED, STOPPED (trainer): step: the order has been obeyed, its checkpoint (if it asked for one) is committed.
    FINISHING (trainer, its last word): state, reason, step, epoch, error or null, monitor {name, mode, best,
        best_epoch, best_step, last} or null, model {path, step, epoch} or null; of a blocked run needed_bytes or null.
    ENDED (worker host or foreground; supervisor if no trainer ever ran): state, reason, exit_code or null, signal or
        null, error or null, step, epoch; command (its number) where an order ended a run that had no trainer; applied
        (as in STARTING) where the supervisor decided it. A second one of the same attempt is the supervisor's: how the
        run really ended, by an order or because the daemon ended.
    RETRYING (supervisor): delay_seconds, failures.
    WARNING (anyone who writes): message.
    """

    ADMITTED = "admitted"
    MOVED = "moved"
    REQUEUED = "requeued"
    STARTING = "starting"
    STARTED = "started"
    RESUMED = "resumed"
    FIRST_STEP = "first_step"
    EPOCH = "epoch"
    CHECKPOINT = "checkpoint"
    CHECKPOINT_SKIPPED = "checkpoint_skipped"
    REPLAY_DIFFERED = "replay_differed"
    REPLAYED = "replayed"
    ASKED = "asked"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHING = "finishing"
    ENDED = "ended"
    RETRYING = "retrying"
    WARNING = "warning"


def now() -> str:
    """The wall clock as ISO 8601 with microseconds and zone: for people, never for decisions."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Journal:
    """Appends events to a run's events.jsonl in the name of one attempt."""

    def __init__(self, path: Path, attempt: int, make_room: MakeRoom | None = None) -> None:
        """`make_room`: see JsonLinesWriter."""
        self._lines = JsonLinesWriter(path, make_room)
        self._attempt = attempt

    def record(self, event: Event, **fields: Any) -> None:
        """Append one event, in the page cache when this returns (it survives the process, not a power cut)."""
        self._lines.append({"time": now(), "event": str(event), "attempt": self._attempt, **fields})

    def sync(self) -> None:
        self._lines.sync()

    def close(self) -> None:
        self._lines.close()


@dataclass(frozen=True)
class Line:
    """One whole line of a journal, and the byte offset behind it."""

    event: dict[str, Any]  # empty where the line is damaged
    end: int


def read_journal(path: Path) -> list[Line]:
    """All whole lines of a journal. One that is not there reads as empty. Raises OSError."""
    try:
        return list(decode_journal(path.read_bytes(), 0, path))
    except FileNotFoundError:
        return []


def read_journal_backwards(path: Path) -> Iterator[dict[str, Any]]:
    """The sound lines of a journal, last one first: cheap for what is recent. One that is not there reads as empty."""
    for line, _ in raw_lines_backwards(path):
        event = _decode(line)
        if event is not None:
            yield event


def decode_journal(data: bytes, offset: int, path: Path) -> Iterator[Line]:
    """The whole lines in `data`, which lies at byte `offset` of `path`; a damaged one is named and comes empty.

    Damaged is what is no JSON object with an event and an attempt: nobody could say to what it belongs.
    """
    *lines, _torn = data.split(b"\n")
    for line in lines:
        end = offset + len(line) + 1
        event = _decode(line)
        if event is None:
            import logging  # not above: a client reads Event from here, and its start is waited for

            logging.getLogger(__name__).warning(
                "%s: the line at byte %d is damaged and passed over: %r", path, offset, line[:80]
            )
        yield Line(event or {}, end)
        offset = end


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(event, dict) and isinstance(event.get("event"), str) and type(event.get("attempt")) is int
    return event if whole else None
