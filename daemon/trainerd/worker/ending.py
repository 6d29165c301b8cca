"""How an attempt ended: decided from its exit and its last word, written down once its trainer is gone.

The worker host (or the foreground) writes here only after it has reaped the trainer, so the journal has one writer. It
reports; whether a run is tried again is for the supervisor alone to decide.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from trainerd.contracts.errors import ExitCode
from trainerd.contracts.journal import Event, Journal, now, read_journal_backwards
from trainerd.contracts.outcome import CRASHED, Outcome, write_outcome
from trainerd.contracts.pages import step_shown
from trainerd.contracts.processes import name_of_signal
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Reason, State

_NOT_OF_AN_ATTEMPT = {Event.ADMITTED, Event.MOVED, Event.REQUEUED, Event.STARTING, Event.RETRYING, Event.WARNING}


@dataclass(frozen=True)
class Ending:
    """What became of an attempt."""

    state: str  # a contracts.states.State, or CRASHED
    reason: str | None  # a contracts.states.Reason; None where the run goes on later
    error: str | None


LOST_WITH_ITS_HOST = Ending(CRASHED, Reason.ERROR, "its worker host died, and the trainer with it")
CUT_OFF = Ending(State.INTERRUPTED, None, "its worker host ended before the trainer had, and killed it")


@dataclass(frozen=True)
class LastAttempt:
    """What a journal tells about its newest attempt; number 0 where none has begun.

    Step and epochs are those that the run has reached, also where this attempt failed before it had opened it.
    """

    number: int = 0
    has_ended: bool = False
    finishing: Mapping[str, Any] | None = None
    step: int = 0
    epoch: int = 0


def classify_end(exit_code: int | None, signal_number: int | None, finishing: Mapping[str, Any] | None) -> Ending:
    """What an exit means: the trainer's last word where it said one, else a crash.

    The last word counts even if the process then died in its teardown: everything it reports is committed by then.
    SIGTERM interrupts, also where it comes before the trainer can obey it. A trainer whose exit code says that its run
    can go on, and that has no last word, found no room for it.
    """
    if finishing is not None:
        return Ending(finishing["state"], finishing["reason"], finishing.get("error"))
    if exit_code == ExitCode.RESUMABLE:
        return Ending(State.BLOCKED, Reason.DISK_FULL, "the disk is full: not even the trainer's last word fitted")
    if signal_number == signal.SIGTERM:
        return Ending(State.INTERRUPTED, None, _describe_exit(exit_code, signal_number))
    return Ending(CRASHED, Reason.ERROR, _describe_exit(exit_code, signal_number))


def record_end(
    directory: RunDirectory,
    attempt: int,
    exit_code: int | None,
    signal_number: int | None,
    cause: Ending | None = None,
) -> Ending:
    """Write ENDED and outcome.json for an attempt whose trainer is gone; cuts a torn last line first.

    `cause` is what the host knows of an end without a last word that the exit alone does not tell. outcome.json comes
    first, so whoever reads ENDED finds it; a crash in between is made good by recording the same end again.
    Raises OSError.
    """
    journal = Journal(directory.events, attempt)
    try:
        last = read_last_attempt(directory.events)
        last = last if last.number == attempt else replace(last, number=attempt, finishing=None)
        outcome = _outcome(directory, last, exit_code, signal_number, cause)
        write_outcome(directory.outcome, outcome)
        journal.record(Event.ENDED, **outcome.ended_fields())
        journal.sync()
    finally:
        journal.close()
    _drop_if_empty(directory.stacks(attempt))
    directory.ballast.unlink(missing_ok=True)
    return Ending(outcome.state, outcome.reason, outcome.error)


def record_abandoned_end(directory: RunDirectory) -> LastAttempt:
    """Record the end of a newest attempt that nobody has recorded: its host died with it. Tells what it found.

    Only for a directory whose trainer.lock is free. Raises OSError.
    """
    last = read_last_attempt(directory.events)
    if last.number and not last.has_ended:
        record_end(directory, last.number, None, None, LOST_WITH_ITS_HOST)
        return replace(last, has_ended=True)
    _drop_if_empty(directory.stacks(last.number))  # the supervisor may have recorded the end of a lost host's trainer
    return last


def read_last_attempt(events: Path) -> LastAttempt:
    """The newest attempt in a journal; damaged lines are passed over. Raises OSError.

    Read from its end, as far as the last finished epoch, behind which nothing older counts: a worker host has other
    trainers to look after, and the journal of a run of days has gigabytes.
    """
    tail: list[dict[str, Any]] = []
    for line in read_journal_backwards(events):
        tail.append(line)
        if line["event"] == Event.EPOCH and _tells_where_it_is(line):
            break
    return reduce(_fold, reversed(tail), LastAttempt())


def _tells_where_it_is(line: Mapping[str, Any]) -> bool:
    return type(line.get("step")) is int and type(line.get("epoch")) is int


def _fold(last: LastAttempt, line: Mapping[str, Any]) -> LastAttempt:
    event, attempt = line["event"], line["attempt"]
    if event in _NOT_OF_AN_ATTEMPT or attempt < last.number:
        return last
    if attempt > last.number:
        last = replace(last, number=attempt, has_ended=False, finishing=None)
    step, epoch = _number(line, "step", last.step), _epochs_finished(line, last.epoch)
    match event:
        case Event.FINISHING | Event.ENDED:
            last = replace(last, step=max(last.step, step), epoch=max(last.epoch, epoch))  # 0 where it opened nothing
        case _:
            last = replace(last, step=step, epoch=epoch)  # less than before where it resumes from a checkpoint
    match event:
        case Event.FINISHING if _is_a_last_word(line):
            return replace(last, finishing=line)
        case Event.ENDED:
            return replace(last, has_ended=True)
    return last


def _is_a_last_word(line: Mapping[str, Any]) -> bool:
    return isinstance(line.get("state"), str) and "reason" in line


def _epochs_finished(line: Mapping[str, Any], so_far: int) -> int:
    """Lines within an epoch carry the running one; these carry the number of finished ones."""
    counts = line["event"] in (Event.RESUMED, Event.EPOCH, Event.FINISHING, Event.ENDED)
    return _number(line, "epoch", so_far) if counts else so_far


def _number(line: Mapping[str, Any], name: str, so_far: int) -> int:
    value = line.get(name)
    return value if type(value) is int else so_far


def _outcome(
    directory: RunDirectory, last: LastAttempt, exit_code: int | None, signal_number: int | None, cause: Ending | None
) -> Outcome:
    ending = classify_end(exit_code, signal_number, last.finishing)
    if cause and ending.state == CRASHED and not last.finishing:
        ending = cause
    word = last.finishing or {}
    return Outcome(
        state=ending.state,
        reason=ending.reason,
        exit_code=exit_code,
        signal=signal_number,
        step=last.step if last.finishing else max(last.step, step_shown(directory.pulse_page, last.number)),
        epoch=last.epoch,
        monitor=word.get("monitor"),
        model=word.get("model"),
        error=_with_stacks(ending.error, directory, last),
        attempt=last.number,
        ended_at=now(),
    )


def _with_stacks(error: str | None, directory: RunDirectory, last: LastAttempt) -> str | None:
    """Where a trainer without a last word has left its stacks, the error says where."""
    stacks = directory.stacks(last.number)
    left = last.finishing is None and stacks.exists() and stacks.stat().st_size
    return f"{error}; its stacks are in {stacks.name}" if error and left else error


def _describe_exit(exit_code: int | None, signal_number: int | None) -> str:
    if signal_number is not None:
        return f"the trainer was killed by {name_of_signal(signal_number)}"
    if exit_code is not None:
        return f"the trainer exited with {exit_code} before it could say why; see its log"
    return "the trainer is gone, and nobody saw its exit"


def _drop_if_empty(path: Path) -> None:
    """Stacks are kept only if there are any: a hang or a crash wrote them."""
    if path.exists() and path.stat().st_size == 0:
        path.unlink()
