"""Records how an attempt started, and how it ended where the supervisor decides it, in journal and outcome.json.

Where a trainer lived to the end, and nobody had ordered otherwise, the worker host has written both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trainerd.contracts.journal import Event, read_journal_backwards
from trainerd.contracts.outcome import CRASHED, Outcome
from trainerd.contracts.outcome import write_outcome as write_outcome_file
from trainerd.contracts.pages import step_shown
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.supervisor.journals import OWN_LINES, append, append_if_last, happened_behind


def record_start(directory: RunDirectory, record: RunRecord, applied: int) -> None:
    """Write that an attempt was ordered, `applied` being the newest command by then. Raises OSError."""
    append(
        directory,
        record.attempt,
        Event.STARTING,
        gpus=list(record.gpus),
        settled_order=record.settled_order,
        checkpoint_order=record.pending_checkpoint,
        applied=applied,
    )


def record_end(directory: RunDirectory, record: RunRecord, offset: int, time: str, **cause: int) -> None:
    """Write how an attempt ended at `time`: outcome.json, and a line behind `offset` of the journal. Raises OSError.

    Nothing is written where the journal goes on there. `cause`: the `command` that ended the run, if one did, or
    the newest one that was `applied` before: whoever folds the state anew has the commands too.
    """
    outcome = _outcome_of(record, time)
    behind = happened_behind(directory, offset)
    if behind and not (len(behind) == 1 and _tells(behind[0], outcome)):
        return
    write_outcome_file(directory.outcome, outcome)
    end = {"time": outcome.ended_at, **outcome.ended_fields()}  # one time for both: a state folded anew has it too
    append_if_last(directory, record.attempt, offset, Event.ENDED, **end, **cause)


def _tells(event: Mapping[str, Any], outcome: Outcome) -> bool:
    return (event.get("event"), event.get("state")) == (Event.ENDED, outcome.state)


def write_outcome(directory: RunDirectory, record: RunRecord) -> None:
    """Write outcome.json of a run that has ended. Raises OSError."""
    assert record.ended_at is not None, "a run that has ended has an end time"
    write_outcome_file(directory.outcome, _outcome_of(record, record.ended_at))


def _outcome_of(record: RunRecord, time: str) -> Outcome:
    facts = {field.name: getattr(record, field.name) for field in fields(Outcome)}
    return Outcome(**{**facts, "ended_at": record.ended_at or time})


def record_vanished(directory: RunDirectory, record: RunRecord, offset: int) -> None:
    """Write the end of a trainer whose worker host died too, and could not write it. Raises OSError.

    Where the trainer had its last word, that is how it ended.
    """
    died = {"state": CRASHED, "reason": "error", "error": "the trainer died with its worker host"}
    reached = {"step": max(record.step, step_shown(directory.pulse_page, record.attempt)), "epoch": record.epoch}
    end = {**died, **reached, **_last_word(directory, record.attempt)}
    append_if_last(directory, record.attempt, offset, Event.ENDED, exit_code=None, signal=None, **end)


def _last_word(directory: RunDirectory, attempt: int) -> dict[str, Any]:
    """What the attempt's trainer said as it ended, as far as it got to say it: then nothing of its stands behind."""
    for line in read_journal_backwards(directory.events):
        if line["event"] == Event.FINISHING and line["attempt"] == attempt:
            return {name: line.get(name) for name in ("state", "reason", "error", "step", "epoch")}
        if line["event"] not in OWN_LINES:
            break
    return {}
