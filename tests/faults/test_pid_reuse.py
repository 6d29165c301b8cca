"""A number is no proof of who a process is: a stranger who has got that of a dead trainer or daemon is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pid_reuse import CASES

from tests.acceptance.live_daemon import own_environment

pytestmark = pytest.mark.system
TRIALS = 3
ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.mark.parametrize("case", CASES)
def test_a_stranger_with_the_number_of_a_dead_process_gets_no_signal(case: str, tmp_path: Path) -> None:
    """In a PID namespace, where the kernel can be told which number comes next."""
    for trial in range(TRIALS):
        folder = tmp_path / str(trial)
        folder.mkdir()
        script = Path(__file__).with_name("pid_reuse.py")
        words = [*ALONE, sys.executable, str(script), case, str(folder)]

        ended = subprocess.run(words, env=own_environment(), capture_output=True, text=True, timeout=60, check=False)

        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.split()[-1] == "spared"
