"""What the end of an attempt makes of its run: retried, interrupted, or ended as somebody has ordered. Pure.

The end of an attempt counts once. What a person has ordered stands, also where the trainer was interrupted or crashed
before it could obey; only a run that had completed or failed before the order reached it has done so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, Reason, State
from trainerd.supervisor.retry import RetryPolicy, delay_seconds

JournalLine = Mapping[str, Any]

_TELLING = (Reason.OUT_OF_MEMORY, Reason.HANG, Reason.DISK_FULL)
_LOOK_FOR_ROOM_SECONDS = 2.0  # a blocked run does not start again sooner: a quota cannot be seen from outside
_ORDERED = frozenset({State.STOPPING, State.PAUSING})
_OVERRULED = frozenset({State.INTERRUPTED, State.PAUSED, State.BLOCKED})  # last words that a newer order overrules
# What the supervisor writes behind the end of an attempt where it decides otherwise than the journal alone tells.
_DECISIONS = frozenset({State.INTERRUPTED, State.PAUSED, State.HELD, State.STOPPED})


def fold_end(record: RunRecord, line: JournalLine) -> RunRecord:
    """The record after an ENDED line of its newest attempt."""
    if line.get("command") is not None:
        return record  # the end that a command brought about: to fold the command is enough
    never_started = record.attempt == 0 and record.state not in ENDED
    if record.state not in LIVE and not never_started:
        return _decided(record, line)
    ended = at_least(record, line).updated(
        pid=None, gpus=(), exit_code=line["exit_code"], signal=line["signal"], error=line["error"]
    )
    return _settled(_after_a_crash(ended, line) if line["state"] == CRASHED else _after_an_end(ended, line))


def end_never_begun(record: RunRecord, why: str, time: str) -> RunRecord:
    """The record of a run whose trainer never began, because the worker host refused it or it was to be killed."""
    gone = record.updated(pid=None, gpus=())
    if record.state in _ORDERED:
        return _settled(_obeyed(gone, time))
    if record.killed_by_daemon:
        return _settled(gone.updated(state=State.INTERRUPTED, killed_by_daemon=False))
    return _settled(gone.updated(state=State.FAILED, reason=Reason.ERROR, error=why, ended_at=time))


def end_without_directory(record: RunRecord, time: str) -> RunRecord:
    """The record of a run whose directory somebody has removed: nothing can be asked of it, or written about it."""
    gone = record.updated(pid=None, gpus=(), retry_at=None, error="its run directory is gone")
    return _settled(gone.updated(state=State.FAILED, reason=Reason.ERROR, ended_at=time))


def at_least(record: RunRecord, line: JournalLine) -> RunRecord:
    """A trainer that ended before it had opened its run says 0; what the attempts before have reached stands."""
    return record.updated(step=max(record.step, line["step"] or 0), epoch=max(record.epoch, line["epoch"] or 0))


def seconds_since_epoch(time: str) -> float:
    """A journal's time (ISO 8601 with zone) as time.time() counts."""
    return datetime.fromisoformat(time).timestamp()


def _settled(record: RunRecord) -> RunRecord:
    """Without its trainer nothing is to be killed; a run that has ended owes no checkpoint. One that goes on does."""
    owed = None if record.state in ENDED else record.pending_checkpoint
    return record.updated(kill_ordered=False, pending_checkpoint=owed, stalled=False)


def _after_an_end(record: RunRecord, line: JournalLine) -> RunRecord:
    state = State(line["state"])
    if record.state in _ORDERED and (state in _OVERRULED or (record.kill_ordered and state is State.STOPPED)):
        return _obeyed(record, line["time"])
    if state is State.BLOCKED:
        retry_at = seconds_since_epoch(line["time"]) + _LOOK_FOR_ROOM_SECONDS
        return record.updated(state=state, reason=Reason(line["reason"]), retry_at=retry_at)
    if state not in ENDED:
        return record.updated(state=state)
    return record.updated(state=state, reason=Reason(line["reason"]), ended_at=line["time"])


def _after_a_crash(record: RunRecord, line: JournalLine) -> RunRecord:
    if record.state in _ORDERED:
        return _obeyed(record, line["time"])
    if record.killed_by_daemon:
        return record.updated(state=State.INTERRUPTED, killed_by_daemon=False)
    failures = record.failures + 1
    delay = delay_seconds(RetryPolicy(**record.spec["retry"]), failures)
    if delay is None:
        return record.updated(
            state=State.FAILED, reason=_after_all(line), failures=failures, ended_at=line["time"], retry_at=None
        )
    return record.updated(state=State.RETRYING, failures=failures, retry_at=seconds_since_epoch(line["time"]) + delay)


def _after_all(line: JournalLine) -> Reason:
    """Why a run has failed that crashed once too often: what it lacked, else that it crashed again and again."""
    return Reason(line["reason"]) if line["reason"] in _TELLING else Reason.CRASH_LOOP


def _obeyed(record: RunRecord, time: str) -> RunRecord:
    """The record of a run that has lost its trainer as somebody ordered; that it was killed is then no error."""
    if record.state is State.STOPPING and record.kill_ordered:
        return record.updated(state=State.STOPPED, reason=Reason.KILLED, error=None, ended_at=time)
    if record.state is State.STOPPING:
        return record.updated(state=State.STOPPED, reason=Reason.USER_STOP, ended_at=time)
    if record.kill_ordered:
        return record.updated(state=State.HELD, error=None, exit_code=None, signal=None)
    return record.updated(state=State.PAUSED)


def _decided(record: RunRecord, line: JournalLine) -> RunRecord:
    """A second end of an attempt: what was decided by facts that a state which was lost does not know any more."""
    if line["state"] == State.STOPPED == record.state:
        return record.updated(reason=Reason(line["reason"]))
    if line["state"] == State.CANCELLED == record.state:
        return record.updated(reason=Reason(line["reason"]), ended_at=line["time"])
    if line["state"] not in _DECISIONS or record.state not in (State.RETRYING, State.FAILED):
        return record
    state = State(line["state"])
    return record.updated(
        state=state,
        failures=max(0, record.failures - 1),
        reason=Reason(line["reason"]) if state in ENDED else None,
        ended_at=line["time"] if state in ENDED else None,
        exit_code=line["exit_code"],
        signal=line["signal"],
        error=line["error"],
        retry_at=None,
    )
