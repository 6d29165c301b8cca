"""A fake control plane, the real program in its own process, and runs as the API shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_control_plane import FakeControlPlane, fake_control_plane

Json = dict[str, Any]
Trainctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FakeControlPlane]:
    with fake_control_plane(tmp_path / "control.sock") as plane:
        yield plane


@pytest.fixture
def trainctl(tmp_path: Path) -> Trainctl:
    """Runs `trainctl ARGUMENTS` as a process of its own, against TRAINERD_HOME = tmp_path."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trainctl", *arguments],
            env={**os.environ, "TRAINERD_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def run() -> Json:
    """A run in the middle of its training."""
    return {
        "id": 7,
        "name": "overnight",
        "state": "running",
        "reason": None,
        "step": 1150,
        "epoch": 11,
        "attempt": 1,
        "exactness": None,
        "pending_checkpoint": None,
        "legal": ["pause", "checkpoint", "stop", "kill"],
        "priority": 0,
        "after": None,
        "owner": 1000,
        "pids": [4242],
        "created_at": "2026-11-23T03:00:00.000000+00:00",
        "started_at": "2026-11-23T03:00:01.000000+00:00",
        "ended_at": None,
        "exit_code": None,
        "signal": None,
        "error": None,
        "monitor": {"name": "val_loss", "mode": "min", "best": 0.0123, "best_epoch": 9, "best_step": 900, "last": 0.02},
        "model": None,
        "steps_per_epoch": 100,
        "max_epochs": 400,
        "patience": 50,
        "beat_age_seconds": 0.1,
        "run_dir": "/home/someone/runs/7",
        "checkpoints": [],
        "spec": {"name": "overnight"},
    }


@pytest.fixture
def completed(run: Json) -> Json:
    """The same run after early stopping."""
    return run | {
        "state": "completed",
        "reason": "early_stopping",
        "step": 33000,
        "epoch": 330,
        "pids": [],
        "ended_at": "2026-11-23T05:13:01.000000+00:00",
        "exit_code": 0,
        "monitor": run["monitor"] | {"best_epoch": 280, "best_step": 28000},
        "model": {"path": "/home/someone/runs/7/model.safetensors", "step": 28000, "epoch": 280},
    }
