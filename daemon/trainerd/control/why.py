"""What is known about how a run has come to be as it is: its attempts, last lines, vitals and stacks, and what to do.

Reads a run's directory from its ends only, so it costs the same after a minute and after a month.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from trainerd.contracts.journal import Event, read_journal_backwards
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.control.next_step import next_step
from trainerd.control.views import summarize_run

_JOURNAL_LINES = 5000  # looked at, from its end
_ATTEMPTS = 10
_EPOCHS = 50
_LOG_LINES = 12
_STACK_LINES = 60
_TAIL_BYTES = 1 << 16
_ENDED_FIELDS = ("time", "attempt", "state", "reason", "step", "exit_code", "signal", "error")
_WARNINGS = (Event.CHECKPOINT_SKIPPED, Event.REPLAY_DIFFERED, Event.WARNING)

Json = dict[str, Any]


def explain_run(record: RunRecord, home: Home) -> Json:
    """The whole answer of GET /v1/runs/{reference}/why."""
    directory = RunDirectory(home.run(record.id))
    events = list(islice(read_journal_backwards(directory.events), _JOURNAL_LINES))
    events.reverse()
    step = next_step(record)
    return {
        "run": summarize_run(record, home),
        "attempts": _attempts(events)[-_ATTEMPTS:],
        "warnings": [event for event in events if event["event"] in _WARNINGS][-_ATTEMPTS:],
        "epochs": _epochs(events)[-_EPOCHS:],
        "log": {"path": str(directory.log), "lines": _last_lines(directory.log, _LOG_LINES)},
        "stacks": _stacks(directory, record.attempt),
        "vitals": _vitals(directory, record.attempt),
        "next": {"command": step.command, "advice": step.advice},
    }


def _attempts(events: Iterable[Json]) -> list[Json]:
    """How each attempt ended, oldest first; the newer word where there are two."""
    ends = {event["attempt"]: event for event in events if event["event"] == Event.ENDED}
    return [{name: ends[attempt].get(name) for name in _ENDED_FIELDS} for attempt in sorted(ends)]


def _epochs(events: Iterable[Json]) -> list[Json]:
    """How long the last epochs took, and a step in each of them."""
    epochs, before = [], None
    for event in events:
        if event["event"] == Event.EPOCH:
            steps = event["step"] - before["step"] if before and before["attempt"] == event["attempt"] else None
            per_step = event["seconds"] / steps if steps else None
            epochs.append({"epoch": event["epoch"], "seconds": event["seconds"], "seconds_per_step": per_step})
            before = event
    return epochs


def _stacks(directory: RunDirectory, attempt: int) -> Json | None:
    path = directory.stacks(attempt)
    lines = _last_lines(path, _STACK_LINES)
    return {"path": str(path), "lines": lines} if lines else None


def _vitals(directory: RunDirectory, attempt: int) -> list[Mapping[str, Any]]:
    """What the worker host saw of the newest attempt that has ended."""
    lines = _last_lines(directory.vitals(attempt), limit=360)
    return [json.loads(line) for line in lines]


def _last_lines(path: Path, limit: int) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            tail = file.read()
    except FileNotFoundError:
        return []
    lines = tail.decode(errors="replace").splitlines()
    return (lines[1:] if len(tail) == _TAIL_BYTES else lines)[-limit:]
