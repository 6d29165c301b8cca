"""Who holds a place: the kernel knows, a file only remembers."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainerd.contracts.errors import AlreadyRunning
from trainerd.contracts.locks import PlaceLock, holder_of

HOLD = """
import sys
from pathlib import Path
from trainerd.contracts.locks import PlaceLock
lock = PlaceLock(Path(sys.argv[1]), "test")
print("held", flush=True)
sys.stdin.read()
"""


def start(code: str, path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "up.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    with start(HOLD, path) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("text", ["", "1", "not a number"])
def test_the_holder_is_named_whatever_stands_in_the_file(holder: subprocess.Popen[str], path: Path, text: str) -> None:
    path.write_text(text)

    assert holder_of(path) == holder.pid
    with pytest.raises(AlreadyRunning, match=f"process {holder.pid}"):
        PlaceLock(path, "test")


def test_a_number_in_the_file_of_one_that_has_died_names_nobody(path: Path) -> None:
    assert holder_of(path) is None
    path.write_text("1")

    assert holder_of(path) is None


def test_a_holder_that_has_died_holds_nothing(holder: subprocess.Popen[str], path: Path) -> None:
    holder.kill()
    holder.wait()

    assert holder_of(path) is None
    PlaceLock(path, "test").release()


def test_asking_takes_nothing_so_it_keeps_nobody_from_taking_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PlaceLock(path, "test").release()

    def take(*_: object) -> None:
        pytest.fail("for this moment somebody who starts would be refused")

    for name in ("lockf", "flock"):
        monkeypatch.setattr(fcntl, name, take)

    assert holder_of(path) is None
