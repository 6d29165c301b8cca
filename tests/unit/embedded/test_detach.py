"""What the caller of a background process learns of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DETACH = """
import sys
from pathlib import Path
from trainerd.embedded.detach import run_detached
sys.exit(run_detached(lambda announce_ready: {work}, Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("work", "exit_code"),
    [
        ("announce_ready() or 0", 0),
        ("4", 4),
        ("0", 1),  # told to end before it was ever ready: nobody may take it for one that is up
        ("__import__('os').kill(__import__('os').getpid(), 9)", 1),
    ],
)
def test_only_one_that_was_ready_is_a_success(tmp_path: Path, work: str, exit_code: int) -> None:
    command = [sys.executable, "-c", DETACH.format(work=work), str(tmp_path / "log")]

    assert subprocess.run(command, check=False, timeout=30).returncode == exit_code
