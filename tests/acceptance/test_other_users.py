"""Somebody else on the same machine, with the real trainctl, on a socket whose mode somebody has widened."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest
from live_daemon import LiveDaemon

# The interpreter and its packages may lie in a home that is closed to others: trainctl is loaded first, then the user
# is changed, and only then does anything reach for the daemon.
TRAINCTL_AS_NOBODY = """
import importlib, os, pkgutil
import trainctl.commands, trainctl.main
for found in pkgutil.walk_packages(trainctl.__path__, "trainctl."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
trainctl.main.main()
"""


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("words", ["status", "list", "stop --all", "submit short.yaml"])
def test_another_user_gets_77_and_the_owners_name(small_daemon: LiveDaemon, words: str) -> None:
    (small_daemon.home / "short.yaml").write_text("name: theirs\n")
    (small_daemon.home / "control.sock").chmod(0o666)

    refused = as_nobody(small_daemon, *words.split())

    assert refused.returncode == 77, refused.stderr
    assert pwd.getpwuid(os.getuid()).pw_name in refused.stderr
    assert refused.stdout == ""


def as_nobody(daemon: LiveDaemon, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TRAINCTL_AS_NOBODY, *words]
    environment = {**daemon.environment, "HOME": "/"}
    return subprocess.run(
        command, cwd=daemon.home, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
