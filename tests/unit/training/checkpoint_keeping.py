"""A keeper in a run directory of its own, with a clock of its own, and a gate in front of its writer."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from trainerd.contracts.journal import Journal
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints import writer
from trainerd.training.checkpoints.keeper import CheckpointKeeper
from trainerd.training.checkpoints.snapshot import RunState
from trainerd.training.checkpoints.verify import list_checkpoints, verify

GATE_SECONDS = 20.0


class Clock:
    """Seconds that pass only when told to, and a little with every look, as a commit takes time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.1
        return self.seconds


class Keeping:
    """A keeper, and what can be seen of its work."""

    def __init__(self, path: Path, plan: Checkpoint, *, holds_best: bool = True) -> None:
        self.directory = RunDirectory(path)
        self.clock = Clock()
        self.synced = 0
        self.obeyed: list[int] = []
        self.keeper = CheckpointKeeper(
            self.directory,
            plan,
            Journal(self.directory.events, attempt=1),
            1,
            self._sync,
            holds_best=holds_best,
            obeyed=self.obeyed.append,
            clock=self.clock,
        )

    def _sync(self) -> None:
        self.synced += 1

    def events(self) -> list[dict[str, Any]]:
        """What the journal says of checkpoints so far."""
        return read_lines(self.directory.events)[0]

    def committed(self) -> list[int]:
        """The steps of all commits so far, in their order, once everything has been written."""
        self.keeper.settle()
        return [event["step"] for event in self.events()]

    def on_disk(self) -> list[int]:
        """The steps whose checkpoints verify; every checkpoint there is must."""
        return sorted(verify(path).manifest.step for path in list_checkpoints(self.directory.checkpoints))


class Gate:
    """Stands between the writer and the disk: no checkpoint is committed until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        self._opened = threading.Event()
        commit = writer.commit_directory

        def commit_behind_gate(*arguments: Any) -> Any:
            self.entered.set()
            assert self._opened.wait(GATE_SECONDS), "nobody has opened the gate"
            return commit(*arguments)

        patch.setattr(writer, "commit_directory", commit_behind_gate)

    def wait_for_writer(self) -> None:
        """Until a commit has begun, and stands still."""
        assert self.entered.wait(GATE_SECONDS), "no commit has begun"

    def open(self) -> None:
        self._opened.set()


def state(step: int) -> RunState:
    """The state after `step`: every value in it is the step."""
    return RunState(step, step // 10, {"weight": torch.full((3,), float(step))}, {"progress": {"step": step}})
