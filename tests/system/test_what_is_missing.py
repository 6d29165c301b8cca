"""`make test-system` says in one line what it lacks, instead of passing over what it could not show."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.system


def test_what_the_system_tests_lack_is_said_in_one_line(tmp_path: Path) -> None:
    programs = programs_without("strace", tmp_path)

    asked = ask_whether_ready({"PATH": str(programs)})

    assert asked.returncode != 0
    [line, of_make] = asked.stderr.splitlines()
    assert "missing here: strace (" in line
    assert "system-ready" in of_make


def test_the_system_tests_are_refused_without_root() -> None:
    asked = ask_whether_ready({}, user=65534)

    assert asked.returncode != 0
    assert "missing here: root (" in asked.stderr


def test_nothing_is_said_where_nothing_is_missing() -> None:
    asked = ask_whether_ready({})

    assert (asked.returncode, asked.stderr) == (0, "")


def programs_without(missing: str, folder: Path) -> Path:
    """A folder with the programs that make needs for its look, and all but one of those that the tests need."""
    for name in {"sh", "id", "make", "strace", "mkfs.ext4", "mount", "umount"} - {missing}:
        program = shutil.which(name)
        assert program is not None, name
        folder.joinpath(name).symlink_to(program)
    return folder


def ask_whether_ready(environment: dict[str, str], user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--silent", "--no-print-directory", "--file", PROJECT / "Makefile", "system-ready"],
        cwd="/",
        env={**{name: value for name, value in os.environ.items() if not name.startswith("MAKE")}, **environment},
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )
