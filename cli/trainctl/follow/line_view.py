"""A run's progress as plain lines, for logs and pipes: one for each change of state and for each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from trainctl.figures import duration, number
from trainctl.follow.progress import Progress
from trainerd.contracts.journal import Event

Json = dict[str, Any]


class LineView:
    """Writes through `write`, one line a call."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._state: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: Progress, event: Json | None) -> None:
        """Write what is new: another state, or `event` where it is worth a line."""
        run = progress.run
        if run["state"] != self._state:
            self._state = run["state"]
            self._write(f"run {run['id']} ({run['name']}) is {run['state']}")
        if event is not None:
            for line in _lines_about(event, progress):
                self._write(line)


def _lines_about(event: Json, progress: Progress) -> list[str]:
    match event["event"]:
        case Event.EPOCH:
            return [_epoch_line(event, progress.run.get("max_epochs"))]
        case Event.RESUMED:
            return [f"goes on from {event['checkpoint']} (step {event['step']})", *_changes(event)]
        case Event.RETRYING:
            return [_retrying_line(event)]
        case Event.REPLAY_DIFFERED:
            return [f"step {event['step']} was not repeated: {event['key']} was {event['was']}, is {event['now']}"]
        case Event.WARNING:
            return [f"warning: {event['message']}"]
        case _:
            return []


def _changes(event: Json) -> list[str]:
    """What is not as it was when the checkpoint was committed."""
    keys = [f"{change['key']}: {change['was']} -> {change['now']}" for change in event.get("changes") or []]
    return [f"changed: {what}" for what in [*(event.get("differences") or []), *keys]]


def _retrying_line(event: Json) -> str:
    when = f"in {duration(event['delay_seconds'])}" if event["delay_seconds"] else "at once"
    failures = event["failures"]
    return f"starts again {when}, after {failures} failure{'s' * (failures != 1)}"


def _epoch_line(event: Json, max_epochs: int | None) -> str:
    parts = [f"epoch {event['epoch']}" + (f"/{max_epochs}" if max_epochs else ""), f"step {event['step']}"]
    parts += [f"{name} {number(event[name])}" for name in ("train_loss", "val_loss") if event.get(name) is not None]
    parts += [f"{name} {number(value)}" for name, value in (event.get("metrics") or {}).items()]
    since = event.get("epochs_since_best")
    parts += [] if since is None else ["best so far" if since == 0 else f"{since} since the best"]
    return "  ".join(parts)
