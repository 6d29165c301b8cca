"""Records how a run ended that had no trainer when it did: the last line of its journal, and outcome.json.

Where a trainer lived to the end, the worker host has written both.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from trainerd.contracts.journal import Event
from trainerd.contracts.outcome import CRASHED, Outcome
from trainerd.contracts.outcome import write_outcome as write_outcome_file
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.supervisor.journals import append_if_last, read_unfolded


def record_end(directory: RunDirectory, record: RunRecord, offset: int) -> None:
    """Write the end of `record` behind `offset` of its journal, and its outcome. Raises OSError."""
    append_if_last(directory, record.attempt, offset, Event.ENDED, **_outcome_of(record).ended_fields())
    write_outcome(directory, record)


def write_outcome(directory: RunDirectory, record: RunRecord) -> None:
    """Write outcome.json of a run that has ended. Raises OSError."""
    write_outcome_file(directory.outcome, _outcome_of(record))


def _outcome_of(record: RunRecord) -> Outcome:
    assert record.ended_at is not None, "a run that has ended has an end time"
    return Outcome(**{field.name: getattr(record, field.name) for field in fields(Outcome)})


def record_vanished(directory: RunDirectory, record: RunRecord, offset: int) -> None:
    """Write the end of a trainer whose worker host died too, and could not write it. Raises OSError.

    Where the trainer had its last word, that is how it ended.
    """
    died = {"state": CRASHED, "reason": "error", "error": "the trainer died with its worker host"}
    reached = {"step": record.step, "epoch": record.epoch}
    end = {**died, **reached, **_last_word(directory, record.attempt)}
    append_if_last(directory, record.attempt, offset, Event.ENDED, exit_code=None, signal=None, **end)


def _last_word(directory: RunDirectory, attempt: int) -> dict[str, Any]:
    """What the attempt's trainer said as it ended, as far as it got to say it."""
    said: dict[str, Any] = {}
    for line in read_unfolded(directory.events, 0).lines:
        if line.event.get("event") == Event.FINISHING and line.event.get("attempt") == attempt:
            said = {name: line.event.get(name) for name in ("state", "reason", "error", "step", "epoch")}
    return said
