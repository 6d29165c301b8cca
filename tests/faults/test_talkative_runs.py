"""A run that floods its log fills no disk and no memory: the log is cut, says so, and keeps its end."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainerd.contracts.run_directory import RunDirectory
from trainerd.worker.log_rotation import LIMIT_BYTES

GROWTH_BYTES = 50 << 20
PARTS = ("trainerd supervisor", "trainerd control", "trainerd worker")
TALKATIVE = """\
import os
import torch


class Talkative(torch.nn.Linear):
    \"\"\"Writes a megabyte into its log at each use, as fast as the disk takes it.\"\"\"

    def forward(self, x_BF):
        if os.path.exists("events.jsonl"):
            os.write(1, (b"x" * 127 + b"\\\\n") * 8192)
        return super().forward(x_BF)
"""
MODEL = 'model={target: "talkative_net:Talkative", args: {in_features: 16, out_features: 2}}'


@pytest.mark.parametrize("cuts", [3, pytest.param(20, marks=pytest.mark.torture)])
def test_a_run_that_writes_a_megabyte_per_step_has_its_log_cut_and_costs_the_daemon_no_memory(
    daemon: LiveDaemon, tmp_path: Path, cuts: int
) -> None:
    (tmp_path / "talkative_net.py").write_text(TALKATIVE)
    configuration = write_run(tmp_path, "synthetic", "mlp")
    before = resident_bytes(daemon)
    run = daemon.submit(configuration, MODEL, "trainer.max_epochs=1000000")
    directory = RunDirectory(daemon.home / "runs" / run)
    daemon.await_step(run, 1)

    for cut in range(cuts):
        kept = inode_of(directory.older_log)
        poll(lambda kept=kept: inode_of(directory.older_log) != kept, f"the log is cut ({cut})", seconds=120)
        assert directory.older_log.stat().st_size <= LIMIT_BYTES
    grown = resident_bytes(daemon) - before
    assert daemon.trainctl("stop", run, "--no-checkpoint").returncode == 0

    assert grown < GROWTH_BYTES
    assert f"the log was cut: its last {LIMIT_BYTES} bytes are in log.1" in directory.log.read_text()


def inode_of(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def resident_bytes(daemon: LiveDaemon) -> int:
    processes = [daemon.process(title) for title in PARTS]
    return sum(process.memory_info().rss for process in processes if isinstance(process, psutil.Process))
