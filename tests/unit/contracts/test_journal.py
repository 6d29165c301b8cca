"""Reading a journal, whatever has happened to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainerd.contracts.journal import Event, Journal, read_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "events.jsonl", attempt=1)
    journal.record(Event.STARTED, pid=7)
    journal.close()
    return tmp_path / "events.jsonl"


@pytest.mark.parametrize(
    "damage",
    [
        b"not json",
        b"[1]",
        b'{"time": "now"}',
        b'{"event": "epoch"}',
        b'{"event": 1, "attempt": 1}',
        b'{"event": "epoch", "attempt": "1"}',
        b'{"event": "ep{"event": "epoch", "attempt": 1}',
        b"\0\0\0\0",
        b"\xff\xfe",
        b"one\rtwo",
        b"",
    ],
)
def test_a_damaged_line_is_named_and_costs_nothing_but_itself(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    start = path.stat().st_size
    with open(path, "ab") as file:
        file.write(damage + b"\n")
    journal = Journal(path, attempt=1)
    journal.record(Event.ENDED, state="completed")
    journal.close()

    lines = read_journal(path)

    assert [line.event.get("event") for line in lines] == ["started", None, "ended"]
    assert lines[1].event == {}
    assert [line.end for line in lines] == [start, start + len(damage) + 1, path.stat().st_size]
    assert f"{path}: the line at byte {start} is damaged" in caplog.text


def test_a_torn_last_line_is_no_line(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b'{"event": "ended", "atte')

    assert [line.event["event"] for line in read_journal(path)] == ["started"]


def test_a_journal_that_is_not_there_reads_as_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "events.jsonl") == []
