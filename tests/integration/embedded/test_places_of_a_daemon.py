"""A home that cannot be one, or is somebody else's, is a line for the user and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINERD = [sys.executable, "-m", "trainerd.main"]
# The same as somebody else, who may not be allowed to read this interpreter's files: so those come first.
TRAINERD_AS_NOBODY = [
    sys.executable,
    "-c",
    "import os, click, trainerd.embedded.down; from trainerd.main import main; os.setuid(65534); main()",
]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.touch()
    return file


@pytest.mark.parametrize("command", ["up", "down", "supervisor"])
def test_a_home_where_none_can_be_is_named(file: Path, command: str) -> None:
    home = file / "home"

    done = run(*TRAINERD, command, "--home", str(home))

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"trainerd: {home}")
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_the_daemon_of_somebody_else_is_not_ours_to_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "up.lock").touch()

    done = run(*TRAINERD_AS_NOBODY, "down", "--home", str(home))

    assert done.returncode == 77
    assert done.stderr == f"trainerd: {home}: this daemon belongs to root; only root may give it orders\n"
