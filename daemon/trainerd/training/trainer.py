"""The entry of a trainer: one attempt of a run, from its directory to its last word in the journal.

One of the three places that catch every error: whatever ends the attempt is named in the journal.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from trainerd.contracts.errors import DataError, ExitCode, TrainerdError
from trainerd.contracts.full_disk import is_for_want_of_space
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.pages import Order
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import State
from trainerd.training.ballast import Ballast
from trainerd.training.ending import Ending, blocked, ending_of
from trainerd.training.loop import train
from trainerd.training.open_run import begin_attempt, open_run
from trainerd.training.product import publish_model
from trainerd.training.run import Run


def say_in_log(line: str) -> None:
    """Write a line to the run's log, where standard output goes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_trainer(
    directory: RunDirectory,
    *,
    attempt: int,
    settled_order: int,
    accepted_data: str | None = None,
    say: Callable[[str], None] = say_in_log,
) -> int:
    """Train attempt `attempt` of the run in `directory` to its end; the exit code of the process.

    0 completed, 75 stopped, paused, interrupted or blocked, 1 failed. The directory holds spec.yaml and both pages; the
    caller holds its lock. Orders up to number `settled_order` are not for this attempt. `accepted_data` is the
    fingerprint of data other than the checkpoint's that a person has accepted. Installs handlers for SIGTERM and
    SIGINT.
    """
    ballast = Ballast(directory.ballast)
    journal = Journal(directory.events, attempt, ballast.give_up)
    run: Run | None = None
    product = None
    try:
        run = open_run(begin_attempt(directory, journal, ballast, attempt, settled_order, say, accepted_data))
        ending = train(run)
        if _leaves_a_model(ending, run):
            product = ballast.make_room_for(partial(publish_model, run)).to_json()
        run.write_metrics()
        run.trace.end()
    except BaseException as error:  # noqa: BLE001 - the trainer's entry: every end is named
        ending = ending_of(error)
        if isinstance(error, OSError) and ballast.explains(error):
            ending = blocked(directory.path, str(error))
        _leave_traces(error, run)
    last_word = {
        "state": ending.state,
        "reason": ending.reason,
        "step": run.progress.step if run else 0,
        "epoch": run.progress.epochs_finished if run else 0,
        "error": ending.error,
        "monitor": _describe_monitor(run) if run else None,
        "model": product,
    }
    if ending.state == State.BLOCKED:
        last_word["needed_bytes"] = ballast.needed_bytes
    return _say_last_word(last_word, _last_line(ending, run), journal, say) or ending.exit_code


def _say_last_word(word: dict[str, Any], line: str, journal: Journal, say: Callable[[str], None]) -> ExitCode | None:
    """Write it into the journal and the log; where the disk takes nothing any more, the exit code says so (75)."""
    try:
        journal.record(Event.FINISHING, **word)
        journal.sync()
        say(line)
    except OSError as error:
        if not is_for_want_of_space(error):
            raise
        return ExitCode.RESUMABLE
    return None


def _leave_traces(error: BaseException, run: Run | None) -> None:
    """Save what helps to understand the end, and the best state if it is in memory only: it was finite when taken.

    Bad data is met between two steps, so that is a state to go on from once the data is mended. Where even that fails,
    the last word in the journal still comes.
    """
    if not isinstance(error, TrainerdError):
        with suppress(OSError):
            traceback.print_exc()
    if run:
        save = [run.save_last_checkpoint] if isinstance(error, DataError) else []
        for leave in (*save, run.write_metrics, run.trace.end, run.keeper.finish):
            with suppress(Exception):
                leave()


def _leaves_a_model(ending: Ending, run: Run) -> bool:
    """A completed run leaves its model; one that a person stopped does too, if a checkpoint was asked for."""
    if ending.state == State.STOPPED:
        asked = run.orders.ending()
        return asked is not None and asked.order is not Order.STOP_WITHOUT_CHECKPOINT
    return ending.state == State.COMPLETED


def _describe_monitor(run: Run) -> dict[str, Any] | None:
    if run.watch is None:
        return None
    standing = run.standing
    last = standing.last if standing.last is not None and math.isfinite(standing.last) else None
    return {
        "name": run.watch.monitor,
        "mode": run.watch.mode,
        "best": standing.best,
        "best_epoch": standing.best_epoch,
        "best_step": standing.best_step,
        "last": last,
    }


def _last_line(ending: Ending, run: Run | None) -> str:
    where = f" at step {run.progress.step}" if run else ""
    why = f" ({ending.reason})" if ending.reason else ""
    return f"{ending.state}{why}{where}" + (f": {ending.error}" if ending.error else "")
