"""A pause really frees: when the order returns, nothing of the run is left, whatever its code has started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.processes import is_alive
from trainerd.contracts.run_directory import RunDirectory

BUSY = """\
import multiprocessing, os, subprocess, time
from pathlib import Path
import torch


class Busy(torch.nn.Linear):
    \"\"\"Starts processes in every way that user code does, and notes their PIDs in the run directory.\"\"\"

    def __init__(self, features):
        super().__init__(features, features)
        if not Path("events.jsonl").exists():
            return  # it is inspected only
        note("child", subprocess.Popen(["sleep", "600"]).pid)
        note("session of its own", subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
        note("data worker", start_data_worker())
        note("fork", fork(time.sleep, 600))
        note("daemon", fork(become_daemon))
        while not Path("daemon-started").exists():
            time.sleep(0.01)


def start_data_worker():
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
    worker.start()
    return worker.pid


def become_daemon():
    os.setsid()
    fork(live_as_daemon)


def live_as_daemon():
    os.closerange(0, 1 << 16)
    note("daemon's child", os.getpid())
    Path("daemon-started").touch()
    os.chdir("/")
    time.sleep(600)


def fork(work, *arguments):
    pid = os.fork()
    if pid == 0:
        work(*arguments)
        os._exit(0)
    return pid


def note(what, pid):
    with open("started", "a") as file:
        file.write(f"{pid} {what}\\n")
"""
CONFIGURATION = """\
name: busy
data: {kind: synthetic, samples: 256, inputs: {shape: [8]}, targets: {shape: [8]}, batch_size: 8}
model: {target: "busy_net:Busy", args: {features: 8}}
loss: {name: mse}
optimizer: {name: adamw}
trainer: {max_epochs: 1000000, device: cpu}
resources: {cpus: 1}
"""
BYTES_ON_GPU = 1 << 30
LARGE = f"""\
import torch


class Large(torch.nn.Linear):
    def __init__(self, features):
        super().__init__(features, features)
        self.register_buffer("ballast", torch.zeros({BYTES_ON_GPU // 4}), persistent=False)
"""


@pytest.mark.dies("a trainer that has started other processes")
@pytest.mark.parametrize("verb", ["pause", "stop", "kill"])
def test_when_the_order_returns_no_process_of_the_run_exists(daemon: LiveDaemon, tmp_path: Path, verb: str) -> None:
    """Children, sessions of their own, forked data workers, daemons; and the directory is free for the next attempt."""
    (tmp_path / "busy_net.py").write_text(BUSY)
    (tmp_path / "busy.yaml").write_text(CONFIGURATION)
    run = daemon.submit(tmp_path / "busy.yaml")
    trainer = daemon.await_step(run, 1)["pids"][0]
    directory = RunDirectory(daemon.home / "runs" / run)
    started = {what: int(pid) for pid, what in started_by(directory)}
    assert len(started) == 6
    poll(lambda: not is_alive(started["daemon"]), "the daemon has made itself independent")
    assert all(is_alive(pid) for what, pid in started.items() if what != "daemon")

    ordered = daemon.trainctl(verb, run)

    assert ordered.returncode == 0, ordered.stderr
    assert [what for what, pid in started.items() if is_alive(pid)] == []
    assert not is_alive(trainer)
    assert holder_of(directory.lock) is None
    assert processes_in(directory.path) == []


def started_by(directory: RunDirectory) -> list[list[str]]:
    return [line.split(maxsplit=1) for line in (directory.path / "started").read_text().splitlines()]


def processes_in(folder: Path) -> list[int]:
    """Everything on this machine that works in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_when_pause_returns_the_memory_of_the_gpu_is_free(daemon: LiveDaemon, tmp_path: Path) -> None:
    (tmp_path / "large_net.py").write_text(LARGE)
    configuration = CONFIGURATION.replace("busy_net:Busy", "large_net:Large").replace("device: cpu", "device: cuda")
    (tmp_path / "large.yaml").write_text(configuration)
    before = bytes_used_on_gpu()
    run = daemon.submit(tmp_path / "large.yaml")
    daemon.await_step(run, 1)
    poll(lambda: bytes_used_on_gpu() >= before + BYTES_ON_GPU, "the run has its memory on the GPU")

    paused = daemon.trainctl("pause", run)

    assert paused.returncode == 0, paused.stderr
    assert bytes_used_on_gpu() < before + (64 << 20)


def bytes_used_on_gpu() -> int:
    """By everybody, this question itself included: it is asked in a process of its own, in the same way each time."""
    question = "import json, torch; print(json.dumps(torch.cuda.mem_get_info()))"
    free, total = json.loads(subprocess.check_output([sys.executable, "-c", question], text=True))
    return int(total - free)
