"""What a run's journal says about it: `fold_event` turns a record and one more line into the next record. Pure.

Lines of an attempt older than the record's change nothing, and the end of an attempt counts once, so a journal may be
folded again from its start. A line of a newer attempt is believed whatever the record says: the trainer has lived. That
is how a state that was lost is folded anew from the command log and the journals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainerd.contracts.journal import Event
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, Exactness, State
from trainerd.supervisor.attempt_end import JournalLine, at_least, fold_end


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
        stalled=False,
        ended_at=None,
        exit_code=None,
        signal=None,
        retry_at=None,
        needed_bytes=None,
        killed_by_daemon=False,
        kill_ordered=False,
    )


def _moved(record: RunRecord, line: JournalLine) -> RunRecord:
    """Where the run was put; the runs that this rested on may be gone by the time it is folded again."""
    return record.updated(priority=line["priority"], place=line["place"])


def _starting(record: RunRecord, line: JournalLine) -> RunRecord:
    """What the supervisor has decided itself, unless its state was lost."""
    if record.state is not State.STARTING:
        return record
    return record.updated(
        gpus=tuple(line["gpus"]), settled_order=line["settled_order"], pending_checkpoint=line["checkpoint_order"]
    )


def _started(record: RunRecord, line: JournalLine) -> RunRecord:
    if record.state not in LIVE:
        return record
    state = State.RUNNING if record.state is State.STARTING else record.state
    return record.updated(
        state=state,
        pid=line["pid"],
        gpus=record.gpus or tuple(line.get("gpus") or ()),  # unknown where the state was lost
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


def _resumed(record: RunRecord, line: JournalLine) -> RunRecord:
    """Its checkpoint counts as one, also where the trainer was killed before it could say that it had committed it."""
    return _judged(_checkpoint(_reached(record, line), line), line)


def _judged(record: RunRecord, line: JournalLine) -> RunRecord:
    """How truly a run goes on is the worst of all its resumes."""
    if line.get("exactness") is None:
        return record
    found = [Exactness(line["exactness"]), *([record.exactness] if record.exactness else [])]
    return record.updated(exactness=max(found, key=list(Exactness).index))


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
    record = _without_obeyed_order(record, line.get("order"))
    if record.checkpoint_step is not None and line["step"] <= record.checkpoint_step:
        return record
    return record.updated(checkpoint_step=line["step"], failures=0)


def _without_obeyed_order(record: RunRecord, order: int | None) -> RunRecord:
    if order is None or record.pending_checkpoint is None or order < record.pending_checkpoint:
        return record
    return record.updated(pending_checkpoint=None)


def _finishing(record: RunRecord, line: JournalLine) -> RunRecord:
    return at_least(record, line).updated(
        error=line["error"],
        monitor=line["monitor"] or record.monitor,
        model=line["model"],
        needed_bytes=line.get("needed_bytes"),
    )


_FOLDS: dict[str, Callable[[RunRecord, JournalLine], RunRecord]] = {
    Event.MOVED: _moved,
    Event.STARTING: _starting,
    Event.STARTED: _started,
    Event.RESUMED: _resumed,
    Event.REPLAY_DIFFERED: _judged,
    Event.REPLAYED: _judged,
    Event.FIRST_STEP: _reached,
    Event.EPOCH: _epoch,
    Event.CHECKPOINT: _checkpoint,
    Event.FINISHING: _finishing,
    Event.ENDED: fold_end,
}
