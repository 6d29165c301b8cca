"""A log never grows far beyond its limit, whoever writes into it, and says itself what has become of the rest."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import poll
from trainerd.contracts.run_directory import RunDirectory
from trainerd.worker.log_rotation import limit_log

LIMIT_BYTES = 1 << 20
SAID = rb"^\S+ the log was cut: its last 1048576 bytes are in log\.1; (\d+) bytes were dropped\n"
POURS = """
import os, sys
line = b"0123456789" * 100 + b"\\n"
while True:
    os.write(1, line * 1000)
"""


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def test_a_log_within_its_limit_is_left_alone(directory: RunDirectory) -> None:
    """So is one that is not there yet, and one that is no file."""
    assert not limit_log(directory, LIMIT_BYTES)
    directory.log.write_bytes(b"x" * LIMIT_BYTES)
    assert not limit_log(directory, LIMIT_BYTES)
    directory.log.unlink()
    directory.log.symlink_to(os.devnull)
    assert not limit_log(directory, LIMIT_BYTES)
    assert not directory.older_log.exists()


@pytest.mark.parametrize("within_the_kernel", [True, False])
def test_the_end_of_a_log_that_is_too_large_is_kept_and_its_writers_go_on_at_its_start(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, within_the_kernel: bool
) -> None:
    """Also where the file system cannot copy by itself. The older log that there was is replaced."""
    if not within_the_kernel:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    directory.older_log.write_bytes(b"of the last time")
    content = os.urandom(3 * LIMIT_BYTES + 17)
    with open(directory.log, "ab", buffering=0) as writer:
        writer.write(content)

        assert limit_log(directory, LIMIT_BYTES)

        writer.write(b"on and on\n")
    assert directory.older_log.read_bytes() == content[-LIMIT_BYTES:]
    said = re.match(SAID + rb"on and on\n$", directory.log.read_bytes())
    assert said is not None
    assert int(said[1]) == 2 * LIMIT_BYTES + 17
    assert sorted(path.name for path in directory.path.iterdir()) == ["log", "log.1"]


def refuse(*_: object) -> int:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_a_log_that_cannot_be_kept_is_cut_all_the_same(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it has filled the disk."""

    def fill_up(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    directory.log.write_bytes(b"x" * (LIMIT_BYTES + 1))
    monkeypatch.setattr(os, "copy_file_range", fill_up)
    monkeypatch.setattr(os, "pread", fill_up)

    assert limit_log(directory, LIMIT_BYTES)

    assert b"could not be kept in log.1 (No space left on device)" in directory.log.read_bytes()
    assert f"; {LIMIT_BYTES + 1} bytes were dropped".encode() in directory.log.read_bytes()
    assert sorted(path.name for path in directory.path.iterdir()) == ["log"]


def test_a_process_that_pours_into_its_log_is_kept_within_bounds(directory: RunDirectory) -> None:
    """As fast as it can, while the log is looked at again and again: it writes on, and every line is whole."""
    with open(directory.log, "ab") as log:
        pouring = subprocess.Popen([sys.executable, "-c", POURS], stdout=log)
    try:
        for _ in range(8):
            poll(lambda: limit_log(directory, LIMIT_BYTES), "the log is too large, and is cut")
            assert directory.older_log.stat().st_size == LIMIT_BYTES
        poll(lambda: directory.log.stat().st_size > 10_000, "it writes on")
    finally:
        pouring.kill()
        pouring.wait()
    said, *lines = [line for line in directory.log.read_bytes().split(b"\n")[:-1] if line[:10] != b"0123456789"]
    assert b"the log was cut" in said
    assert lines == []
    assert pouring.returncode == -9
