"""What an exit means, and what is written down of it."""

from __future__ import annotations

import json
import signal
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.pages import PulsePage, PulseWriter, create_pages
from trainerd.contracts.run_directory import RunDirectory
from trainerd.worker.ending import classify_end, read_last_attempt, record_abandoned_end, record_end

LAST_WORD: dict[str, Any] = {"state": "completed", "reason": "early_stopping", "error": None}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    create_pages(directory.orders_page, directory.pulse_page)
    return directory


def write_journal(directory: RunDirectory, attempt: int, *events: tuple[Event, dict[str, Any]]) -> None:
    journal = Journal(directory.events, attempt)
    for event, fields in events:
        journal.record(event, **fields)
    journal.close()


def ended_lines(directory: RunDirectory) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in directory.events.read_text().splitlines()]
    return [line for line in lines if line["event"] == "ended"]


@pytest.mark.parametrize(
    ("exit_code", "signal_number", "finishing", "state", "reason"),
    [
        (0, None, LAST_WORD, "completed", "early_stopping"),
        (75, None, {"state": "interrupted", "reason": None}, "interrupted", None),
        (1, None, {"state": "failed", "reason": "diverged", "error": "nan"}, "failed", "diverged"),
        (None, signal.SIGSEGV, LAST_WORD, "completed", "early_stopping"),  # died in its teardown, all was committed
        (None, signal.SIGKILL, None, CRASHED, "error"),
        (None, signal.SIGTERM, None, "interrupted", None),  # before the trainer could obey it
        (0, None, None, CRASHED, "error"),  # an exit without a last word is never a completion
        (130, None, None, CRASHED, "error"),
        (None, None, None, CRASHED, "error"),
    ],
)
def test_the_last_word_decides_and_without_one_it_is_a_crash_or_an_interruption(
    exit_code: int | None, signal_number: int | None, finishing: dict[str, Any] | None, state: str, reason: str | None
) -> None:
    ending = classify_end(exit_code, signal_number, finishing)

    assert (ending.state, ending.reason) == (state, reason)


def test_an_end_is_in_the_journal_and_in_outcome_json(directory: RunDirectory) -> None:
    monitor = {"name": "val_loss", "mode": "min", "best": 0.5, "best_epoch": 2, "best_step": 20, "last": 0.6}
    word = LAST_WORD | {"step": 30, "epoch": 3, "monitor": monitor, "model": {"path": "m", "step": 20, "epoch": 2}}
    write_journal(directory, 1, (Event.STARTED, {"pid": 7}), (Event.FINISHING, word))

    record_end(directory, 1, 0, None)

    outcome = json.loads(directory.outcome.read_text())
    assert outcome == word | {"exit_code": 0, "signal": None, "attempt": 1, "ended_at": outcome["ended_at"]}
    [ended] = ended_lines(directory)
    assert (ended["state"], ended["step"], ended["epoch"], ended["attempt"]) == ("completed", 30, 3, 1)


def test_a_crash_tells_the_last_step_that_was_seen_and_the_epochs_finished(directory: RunDirectory) -> None:
    epoch = {"epoch": 4, "step": 40}
    write_journal(directory, 2, (Event.STARTED, {"pid": 7}), (Event.EPOCH, epoch))
    PulseWriter(PulsePage(directory.pulse_page, writable=True), attempt=2).beat(47)

    record_end(directory, 2, None, signal.SIGKILL)

    [ended] = ended_lines(directory)
    assert (ended["step"], ended["epoch"], ended["signal"]) == (47, 4, signal.SIGKILL)


def test_the_last_word_of_an_earlier_attempt_says_nothing_about_this_one(directory: RunDirectory) -> None:
    write_journal(directory, 1, (Event.FINISHING, {"state": "interrupted", "reason": None, "step": 5, "epoch": 1}))

    ending = record_end(directory, 2, 1, None)

    assert ending.state == CRASHED


def test_a_torn_line_is_cut_and_never_part_of_the_end(directory: RunDirectory) -> None:
    write_journal(directory, 1, (Event.STARTED, {"pid": 7}))
    whole = directory.events.read_text()
    with open(directory.events, "a") as events:
        events.write('{"event": "finishing", "state": "comp')

    record_end(directory, 1, None, signal.SIGKILL)

    assert directory.events.read_text().startswith(whole)
    assert [json.loads(line)["event"] for line in directory.events.read_text().splitlines()] == ["started", "ended"]


def test_an_end_that_nobody_recorded_is_recorded_once(directory: RunDirectory) -> None:
    write_journal(directory, 3, (Event.STARTED, {"pid": 7}))

    found = [record_abandoned_end(directory) for _ in range(2)]

    assert [last.number for last in found] == [3, 3]
    [ended] = ended_lines(directory)
    assert (ended["attempt"], ended["state"]) == (3, CRASHED)


def test_a_run_that_was_only_admitted_has_no_attempt_to_end(directory: RunDirectory) -> None:
    write_journal(directory, 0, (Event.ADMITTED, {"run": 1}))

    assert record_abandoned_end(directory).number == 0
    assert not ended_lines(directory)
    assert not directory.outcome.exists()


def test_what_the_supervisor_writes_after_an_end_starts_no_attempt(directory: RunDirectory) -> None:
    write_journal(directory, 1, (Event.ENDED, {"state": CRASHED, "step": 1, "epoch": 0}))
    write_journal(directory, 2, (Event.RETRYING, {"delay_seconds": 5, "failures": 1}))

    last = read_last_attempt(directory.events)

    assert (last.number, last.has_ended) == (1, True)


def test_only_stacks_that_hold_something_are_kept(directory: RunDirectory) -> None:
    directory.stacks(1).touch()
    directory.stacks(2).write_text("Fatal Python error: Segmentation fault")
    for attempt in (1, 2):
        write_journal(directory, attempt, (Event.STARTED, {"pid": 7}))
        record_end(directory, attempt, None, signal.SIGSEGV)

    assert not directory.stacks(1).exists()
    assert directory.stacks(2).exists()


@pytest.mark.parametrize(
    "damage",
    [
        '{"event": "epo{"event": "epoch", "attempt": 1}',
        "[1]",
        '{"event": "epoch", "attempt": null}',
        '{"event": "epoch", "attempt": 1, "step": null, "epoch": "3"}',
        '{"event": "finishing", "attempt": 1}',
    ],
)
def test_a_damaged_line_does_not_keep_an_end_from_being_recorded(directory: RunDirectory, damage: str) -> None:
    write_journal(directory, 1, (Event.STARTED, {"pid": 7}), (Event.EPOCH, {"step": 20, "epoch": 2}))
    with open(directory.events, "a") as events:
        events.write(damage + "\n")

    record_end(directory, 1, None, signal.SIGKILL)

    ended = json.loads(directory.events.read_text().splitlines()[-1])
    assert (ended["event"], ended["state"], ended["step"], ended["epoch"]) == ("ended", CRASHED, 20, 2)


def test_an_attempt_that_opened_nothing_leaves_the_run_where_it_was(directory: RunDirectory) -> None:
    write_journal(directory, 1, (Event.EPOCH, {"step": 5000, "epoch": 50}), (Event.ENDED, {"state": CRASHED}))
    word = {"state": "failed", "reason": "error", "step": 0, "epoch": 0, "error": "no such file"}
    write_journal(directory, 2, (Event.FINISHING, word))

    record_end(directory, 2, 1, None)

    outcome = json.loads(directory.outcome.read_text())
    assert (outcome["state"], outcome["step"], outcome["epoch"]) == ("failed", 5000, 50)
    assert (ended_lines(directory)[-1]["step"], ended_lines(directory)[-1]["epoch"]) == (5000, 50)


def test_an_attempt_that_went_on_from_a_checkpoint_tells_its_own_step(directory: RunDirectory) -> None:
    """What was done after the checkpoint and lost in the crash does not count."""
    write_journal(directory, 1, (Event.EPOCH, {"step": 40, "epoch": 4}), (Event.ENDED, {"state": CRASHED, "step": 47}))
    word = {"state": "stopped", "reason": "user_stop", "step": 35, "epoch": 3}
    write_journal(directory, 2, (Event.RESUMED, {"step": 30, "epoch": 3}), (Event.FINISHING, word))

    record_end(directory, 2, 0, None)

    outcome = json.loads(directory.outcome.read_text())
    assert (outcome["step"], outcome["epoch"]) == (35, 3)


def test_a_signal_without_a_name_is_told_by_its_number(directory: RunDirectory) -> None:
    write_journal(directory, 1, (Event.STARTED, {"pid": 7}))

    assert "signal 40" in (record_end(directory, 1, None, 40).error or "")


def test_of_a_long_journal_only_its_end_is_read(directory: RunDirectory) -> None:
    """A worker host records an end beside all its other trainers; a run of days leaves a journal of gigabytes."""
    write_journal(directory, 1, *((Event.EPOCH, {"epoch": epoch, "step": 10 * epoch}) for epoch in range(1, 20_001)))
    write_journal(directory, 1, (Event.CHECKPOINT, {"epoch": 20_000, "step": 200_003}))
    tracemalloc.start()
    try:
        last = read_last_attempt(directory.events)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (last.number, last.step, last.epoch) == (1, 200_003, 20_000)
    assert peak_bytes < directory.events.stat().st_size / 4


def test_an_attempt_that_opened_nothing_stands_where_the_one_before_it_has_come_to(directory: RunDirectory) -> None:
    write_journal(directory, 1, (Event.EPOCH, {"epoch": 1, "step": 9}), (Event.EPOCH, {"epoch": 2, "step": 18}))
    write_journal(directory, 1, (Event.ENDED, {"state": CRASHED, "step": 20, "epoch": 2}))
    write_journal(directory, 2, (Event.STARTED, {"pid": 7}), (Event.ENDED, {"state": CRASHED, "step": 0, "epoch": 0}))

    last = read_last_attempt(directory.events)

    assert (last.number, last.has_ended, last.step, last.epoch) == (2, True, 20, 2)
