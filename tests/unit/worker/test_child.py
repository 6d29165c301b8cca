"""A child of the worker host that cannot be watched is none."""

from __future__ import annotations

import subprocess
import sys

# Room for no descriptor more: the fork succeeds, and nobody could wait for the child or end it.
FORK_WITHOUT_DESCRIPTORS = """
import os, resource, time
from trainerd.worker.child import fork_child
lowest = os.dup(0)
os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
try:
    fork_child(lambda: time.sleep(60))
except OSError as error:
    print(error.strerror)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""


def test_a_fork_that_cannot_be_watched_leaves_no_child() -> None:
    done = subprocess.run([sys.executable, "-c", FORK_WITHOUT_DESCRIPTORS], capture_output=True, text=True, timeout=30)

    assert done.stdout.splitlines() == ["Too many open files", "no child"], done.stderr
