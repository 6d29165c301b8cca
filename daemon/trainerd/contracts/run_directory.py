"""The names of the files in a run's directory, and nothing else: who writes each stands in docs/architecture.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


def run_ids(runs: Path) -> list[int]:
    """The ids of all runs that have a directory below `runs`."""
    names = (path.name for path in runs.iterdir()) if runs.exists() else iter(())
    return [int(name) for name in names if name.isascii() and name.isdigit()]


@dataclass(frozen=True)
class RunDirectory:
    """Paths below runs/<id>/ (or ./runs/NAME-N of a foreground run)."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "spec.yaml"

    @property
    def orders_page(self) -> Path:
        return self.path / "orders.page"

    @property
    def pulse_page(self) -> Path:
        return self.path / "pulse.page"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def steps(self) -> Path:
        """Which batch each step since the newest checkpoint took, and its loss: what a replay is compared with."""
        return self.path / "steps.bin"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def older_log(self) -> Path:
        """The end of what the log held when it was cut last, because it had grown too large."""
        return self.path / "log.1"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The product, there once the run has completed, or was stopped with a checkpoint."""
        return self.path / "model.safetensors"

    @property
    def outcome(self) -> Path:
        return self.path / "outcome.json"

    @property
    def ballast(self) -> Path:
        """Room on the disk for one last checkpoint; there while a trainer lives."""
        return self.path / "ballast"

    @property
    def lock(self) -> Path:
        """Held (lockf) by the trainer while it lives."""
        return self.path / "trainer.lock"

    def stacks(self, attempt: int) -> Path:
        return self.path / f"stacks-{attempt}.txt"

    def vitals(self, attempt: int) -> Path:
        """What the worker host has seen of an attempt's trainer: step, phase, silence and memory over time."""
        return self.path / f"vitals-{attempt}.jsonl"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:09d}"
