"""What a run's journal says about it: `fold_event` turns a record and one more line into the next record. Pure.

Lines of an attempt older than the record's change nothing, and the end of an attempt counts once, so a journal may be
folded again from its start. A line of a newer attempt is believed whatever the record says: the trainer has lived. That
is how a state that was lost is folded anew from the command log and the journals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from trainerd.contracts.journal import Event
from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, Reason, State
from trainerd.supervisor.retry import RetryPolicy, delay_seconds

JournalLine = Mapping[str, Any]


def fold_event(record: RunRecord, line: JournalLine) -> RunRecord:
    """The record after one more line of its journal; lines that say nothing about the record leave it as it is.

    Raises KeyError, TypeError or ValueError where the line lacks what its event promises (contracts/journal.py).
    """
    if line["attempt"] < record.attempt:
        return record
    if line["attempt"] > record.attempt:
        record = begin_attempt(record, line["attempt"])
    fold = _FOLDS.get(line["event"])
    return fold(record, line) if fold else record


def begin_attempt(record: RunRecord, attempt: int) -> RunRecord:
    """The record as its next attempt starts: what ended the attempts before is no longer true."""
    return record.updated(
        state=State.STARTING,
        attempt=attempt,
        reason=None,
        error=None,
        pid=None,
        ended_at=None,
        exit_code=None,
        signal=None,
        retry_at=None,
        killed_by_daemon=False,
    )


def end_without_directory(record: RunRecord, time: str) -> RunRecord:
    """The record of a run whose directory somebody has removed: nothing can be asked of it, or written about it."""
    return record.updated(
        state=State.FAILED,
        reason=Reason.ERROR,
        error="its run directory is gone",
        pid=None,
        gpus=(),
        retry_at=None,
        ended_at=time,
    )


def _started(record: RunRecord, line: JournalLine) -> RunRecord:
    if record.state not in LIVE:
        return record
    state = State.RUNNING if record.state is State.STARTING else record.state
    return record.updated(
        state=state,
        pid=line["pid"],
        started_at=record.started_at or line["time"],
        steps_per_epoch=line["steps_per_epoch"],
        monitor=_monitor_from_the_start(record, line),
    )


def _monitor_from_the_start(record: RunRecord, line: JournalLine) -> dict[str, Any] | None:
    if record.monitor or not line["monitor"]:
        return record.monitor
    nothing_yet = dict.fromkeys(("best", "best_epoch", "best_step", "last"))
    return {**nothing_yet, "name": line["monitor"]["name"], "mode": line["monitor"]["mode"]}


def _reached(record: RunRecord, line: JournalLine) -> RunRecord:
    return record.updated(step=line["step"], epoch=line.get("epoch", record.epoch))


def _epoch(record: RunRecord, line: JournalLine) -> RunRecord:
    return _reached(record, line).updated(monitor=_monitor_after(record.monitor, line))


def _monitor_after(monitor: dict[str, Any] | None, line: JournalLine) -> dict[str, Any] | None:
    if monitor is None:
        return None
    name = monitor["name"]
    measured = {"train_loss": line["train_loss"], "val_loss": line["val_loss"], **line["metrics"]}
    last = measured.get(name, measured.get(name.removeprefix("val_")))
    best = line["best"]
    newest = {"best": best["value"], "best_epoch": best["epoch"], "best_step": best["step"]} if best else {}
    return {**monitor, **newest, "last": last}


def _checkpoint(record: RunRecord, line: JournalLine) -> RunRecord:
    if record.checkpoint_step is not None and line["step"] <= record.checkpoint_step:
        return record
    return record.updated(checkpoint_step=line["step"], failures=0)


def _finishing(record: RunRecord, line: JournalLine) -> RunRecord:
    return _at_least(record, line).updated(
        error=line["error"], monitor=line["monitor"] or record.monitor, model=line["model"]
    )


def _at_least(record: RunRecord, line: JournalLine) -> RunRecord:
    """A trainer that ended before it had opened its run says 0; what the attempts before have reached stands."""
    return record.updated(step=max(record.step, line["step"] or 0), epoch=max(record.epoch, line["epoch"] or 0))


def _ended(record: RunRecord, line: JournalLine) -> RunRecord:
    never_started = record.attempt == 0 and record.state not in ENDED
    if record.state not in LIVE and not never_started:
        return _forgiven(record, line)
    ended = _at_least(record, line).updated(
        pid=None,
        gpus=(),
        exit_code=line["exit_code"],
        signal=line["signal"],
        error=line["error"],
    )
    return _after_a_crash(ended, line) if line["state"] == CRASHED else _after_an_end(ended, line)


def _forgiven(record: RunRecord, line: JournalLine) -> RunRecord:
    """A second end of an attempt that crashed says that the daemon had killed it, which the first could not know."""
    if line["state"] != State.INTERRUPTED or record.state not in (State.RETRYING, State.FAILED):
        return record
    return record.updated(
        state=State.INTERRUPTED, failures=max(0, record.failures - 1), reason=None, ended_at=None, retry_at=None
    )


# What a person has ordered stands, also where the trainer was interrupted or crashed before it could obey.
_ORDERED: dict[State, State] = {State.STOPPING: State.STOPPED, State.PAUSING: State.PAUSED}


def _after_an_end(record: RunRecord, line: JournalLine) -> RunRecord:
    state = State(line["state"])
    if state is State.INTERRUPTED and record.state in _ORDERED:
        return _obeyed(record, line)
    if state not in ENDED:
        return record.updated(state=state)
    return record.updated(state=state, reason=Reason(line["reason"]), ended_at=line["time"])


def _after_a_crash(record: RunRecord, line: JournalLine) -> RunRecord:
    if record.state in _ORDERED:
        return _obeyed(record, line)
    if record.killed_by_daemon:
        return record.updated(state=State.INTERRUPTED, killed_by_daemon=False)
    failures = record.failures + 1
    delay = delay_seconds(RetryPolicy(**record.spec["retry"]), failures)
    if delay is None:
        return record.updated(
            state=State.FAILED, reason=Reason.CRASH_LOOP, failures=failures, ended_at=line["time"], retry_at=None
        )
    return record.updated(state=State.RETRYING, failures=failures, retry_at=seconds_since_epoch(line["time"]) + delay)


def seconds_since_epoch(time: str) -> float:
    """A journal's time (ISO 8601 with zone) as time.time() counts."""
    return datetime.fromisoformat(time).timestamp()


def _obeyed(record: RunRecord, line: JournalLine) -> RunRecord:
    state = _ORDERED[record.state]
    if state is State.STOPPED:
        return record.updated(state=state, reason=Reason.USER_STOP, ended_at=line["time"])
    return record.updated(state=state)


_FOLDS: dict[str, Callable[[RunRecord, JournalLine], RunRecord]] = {
    Event.STARTED: _started,
    Event.RESUMED: _reached,
    Event.FIRST_STEP: _reached,
    Event.EPOCH: _epoch,
    Event.CHECKPOINT: _checkpoint,
    Event.FINISHING: _finishing,
    Event.ENDED: _ended,
}
