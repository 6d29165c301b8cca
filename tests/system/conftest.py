"""What is done to processes and disks here needs root; `make test-system` says so, and what else it needs."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _is_root() -> None:
    """Only where somebody without root has asked for these tests by their marker."""
    if os.getuid() != 0:
        pytest.skip("needs root: strace, mounts and loop devices")
