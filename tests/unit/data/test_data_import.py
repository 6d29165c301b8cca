"""What importing the data package must not do: the worker host forks after it."""

from __future__ import annotations

import os
import subprocess
import sys

REPORT = """
import os, sys
import trainerd.data
print(len(os.listdir("/proc/self/task")), "h5py" in sys.modules, "pyarrow" in sys.modules)
"""


def test_importing_starts_no_thread_and_loads_no_file_format() -> None:
    """A fork takes one thread with it; who trains on one format does not pay for the other."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy's own threads are the business of its importer

    report = subprocess.run([sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, check=True)

    assert report.stdout.split() == ["1", "False", "False"]
