"""What the kernel is asked about processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from trainerd.contracts.processes import is_alive, living_members_of_session

TITLED = "from trainerd.contracts.processes import set_process_title as s; s('trainerd of a test'); print(); input()"
# A parent that starts a child which dies with it, tells the child's PID and is then killed.
PARENT = """
import os, signal, time
from trainerd.contracts.processes import die_with_parent
parent = os.getpid()
child = os.fork()
if child == 0:
    die_with_parent(parent, signal.SIGKILL)
    print(os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""


def start(code: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ps(process: subprocess.Popen[str], column: str) -> str:
    shown = subprocess.run(
        ["ps", "-o", f"{column}=", "-p", str(process.pid)], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()


def test_a_title_is_what_ps_shows() -> None:
    with start(TITLED) as process:
        read_line(process)

        assert ps(process, "args") == "trainerd of a test"
        assert ps(process, "comm") == "trainerd of a t"
        process.kill()


def test_a_child_dies_with_its_parent() -> None:
    with start(PARENT) as parent:
        child = int(read_line(parent))
        assert set(living_members_of_session(parent.pid)) == {parent.pid, child}

        os.kill(parent.pid, signal.SIGKILL)

        deadline = time.monotonic() + 10
        while is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not is_alive(child)
    assert living_members_of_session(parent.pid) == []
