"""The demo, as `make demo` runs it: on a real scan, through the real programs, interrupted once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.build_patches import cut_patches, read_scan
from tests.polling import poll

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose daemon, and whatever demo still follows it, are gone afterwards."""
    yield tmp_path / "home"
    subprocess.run([PROGRAMS / "trainerd", "down", "--home", tmp_path / "home"], capture_output=True, check=False)


@contextmanager
def running_demo(home: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo in a process group of its own, as a shell would start it, away from any terminal."""
    with open(output, "wb") as file:
        command = [sys.executable, "-m", "demo.run", "--home", str(home)]
        demo = subprocess.Popen(command, cwd=PROJECT, stdout=file, stderr=file, start_new_session=True)
    try:
        yield demo
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()


def wait_for_text(text: str, output: Path, demo: subprocess.Popen[bytes], deadline_seconds: float = 60) -> None:
    def has_said() -> bool:
        said = output.read_text()
        assert text in said or demo.poll() is None, f"the demo has ended without saying {text!r}:\n{said}"
        return text in said

    poll(has_said, lambda: f"the demo says {text!r}:\n{output.read_text()}", deadline_seconds)


def latest_run(home: Path) -> dict[str, Any]:
    """The demo's run, asked of a daemon that is started on its home once more."""
    environment = {**os.environ, "TRAINERD_HOME": str(home), "TRAINERD_SOCKET": str(home / "control.sock")}
    subprocess.run([PROGRAMS / "trainerd", "up", "--detach"], env=environment, check=True, stderr=subprocess.DEVNULL)
    shown = subprocess.run(
        [PROGRAMS / "trainctl", "show", "latest", "-o", "json"], env=environment, check=True, capture_output=True
    )
    run: dict[str, Any] = json.loads(shown.stdout)
    return run


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_the_demo_goes_on_after_ctrl_c_and_ends_by_early_stopping_on_a_denoised_scan(
    home: Path, tmp_path: Path
) -> None:
    """best_epoch >= 20, val_loss at most half of the noisy input's own error, one run in two attempts."""
    with running_demo(home, tmp_path / "first") as first:
        wait_for_text("epoch 3/", tmp_path / "first", first)
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(timeout=60) == 130, (tmp_path / "first").read_text()
    assert "`make demo` goes on from there" in (tmp_path / "first").read_text()

    with running_demo(home, tmp_path / "second") as second:
        assert second.wait(timeout=180) == 0, (tmp_path / "second").read_text()

    said = (tmp_path / "second").read_text()
    assert "run 1 of the last demo goes on" in said
    assert "model.safetensors" in said
    assert "tensorboard --logdir" in said
    run = latest_run(home)
    patches = cut_patches(read_scan(), seed=0)
    validation = patches.is_validation == 1
    noisy_error = ((patches.noisy[validation] - patches.clean[validation]) ** 2).mean()
    assert (run["id"], run["attempt"], run["state"], run["reason"]) == (1, 2, "completed", "early_stopping")
    assert run["monitor"]["best_epoch"] >= 20
    assert run["monitor"]["best"] <= noisy_error / 2
    assert Path(run["model"]["path"]).exists()
