"""Reading a file that grows: whole lines, from any byte on."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainerd.contracts.errors import UsageError
from trainerd.contracts.run_directory import RunDirectory
from trainerd.control.tails import (
    LogTail,
    check_offset,
    read_chunks,
    read_rest,
    read_whole_lines,
    split_lines,
    visible_bytes,
)
from trainerd.worker.log_rotation import limit_log


@given(
    lines=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20),
    torn=st.binary(max_size=10).filter(lambda line: b"\n" not in line),
    limit_bytes=st.integers(1, 60),
)
def test_every_whole_line_is_read_once_in_order_whatever_the_size_of_a_look(
    lines: list[bytes], torn: bytes, limit_bytes: int
) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(line + b"\n" for line in lines) + torn)
        file.flush()
        path, offset, seen = Path(file.name), 0, []
        while data := read_whole_lines(path, offset, limit_bytes):
            for end, line in split_lines(data, offset):
                assert path.read_bytes()[:end].endswith(line + b"\n")
                seen.append(line)
            offset += len(data)

    assert seen == lines


def test_a_file_that_is_not_there_reads_as_empty(tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    assert read_whole_lines(missing, 0) == read_rest(missing, 0) == b""
    assert visible_bytes(missing, whole_lines=True) == check_offset(missing, 0) == 0


def test_only_whole_lines_are_visible_where_lines_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo")

    assert visible_bytes(path, whole_lines=True) == 4
    assert visible_bytes(path, whole_lines=False) == 7


def test_an_offset_behind_the_end_is_refused_with_the_files_size(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\n")

    assert check_offset(path, 4) == 4
    with pytest.raises(UsageError, match=r"5 lies behind the end of events\.jsonl \(4 bytes\)"):
        check_offset(path, 5)


def test_a_file_that_grows_meanwhile_is_read_no_further_than_was_promised(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a" * 600_000)

    async def read_while_it_grows() -> int:
        size_bytes = 0
        async for chunk in read_chunks(path, 600_000):
            size_bytes += len(chunk)
            with path.open("ab") as log:
                log.write(b"b" * 100_000)
        return size_bytes

    assert asyncio.run(read_while_it_grows()) == 600_000


@pytest.mark.parametrize("grown_bytes", [0, 9_000], ids=["shorter than before", "longer than before"])
def test_a_log_that_was_cut_is_read_from_its_start_and_that_is_told_once(tmp_path: Path, grown_bytes: int) -> None:
    """Also where it has grown beyond what was read by the next look."""
    directory = RunDirectory(tmp_path)
    directory.log.write_bytes(b"old\n" * 2000)
    tail = LogTail(directory.log, directory.older_log, 0)
    assert len(read_all(tail)) == 8000
    assert not tail.was_cut()

    assert limit_log(directory, limit_bytes=4000)
    with directory.log.open("ab") as log:
        log.write(b"n" * grown_bytes + b"ew\n")

    assert tail.was_cut()
    assert read_all(tail) == directory.log.read_bytes()
    assert not tail.was_cut()


def read_all(tail: LogTail) -> bytes:
    return b"".join(iter(tail.read_lines, b""))


def test_a_reader_who_has_seen_more_than_there_is_begins_anew(tmp_path: Path) -> None:
    """It was away while the log was cut."""
    directory = RunDirectory(tmp_path)
    directory.log.write_bytes(b"new\n")

    tail = LogTail(directory.log, directory.older_log, 70_000)

    assert tail.was_cut()
    assert tail.read_lines() == b"new\n"
