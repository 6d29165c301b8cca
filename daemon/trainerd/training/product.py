"""model.safetensors of a run: the best weights if early stopping restores them, else the last ones."""

from __future__ import annotations

import mmap
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.journal import Event
from trainerd.training.checkpoints.commit import write_durably
from trainerd.training.checkpoints.snapshot import model_file
from trainerd.training.checkpoints.verify import Damaged, verify
from trainerd.training.run import Run


@dataclass(frozen=True)
class Product:
    """Where the model lies, and which state of the run it is."""

    path: str
    step: int
    epoch: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def publish_model(run: Run) -> Product:
    """Copy the model out of the checkpoint that it is in, durably. The run's last checkpoint has been committed.

    A best checkpoint that does not verify any more (bad disk) is passed over for the last one, with a warning in the
    journal. Raises Damaged if that one does not verify either, OSError if the copy cannot be written.
    """
    step, epoch = _chosen_state(run)
    try:
        chosen = verify(run.directory.checkpoint(step))
    except Damaged as damage:
        run.journal.record(Event.WARNING, message=f"the checkpoint of step {step} is damaged: {damage}")
        step, epoch = run.progress.step, run.progress.epochs_finished
        chosen = verify(run.directory.checkpoint(step))
    _copy_durably(model_file(chosen.path), run.directory.model)
    return Product(str(run.directory.model), step, epoch)


def _chosen_state(run: Run) -> tuple[int, int]:
    """(step, epoch) of the state whose weights are the product."""
    early_stopping, standing = run.spec.early_stopping, run.standing
    if early_stopping and early_stopping.restore_best and standing.best_step is not None:
        return standing.best_step, standing.best_epoch or 0
    return run.progress.step, run.progress.epochs_finished


def _copy_durably(source: Path, destination: Path) -> None:
    """Put a copy in the place of `destination`, whole and for good, or leave what is there. Raises OSError."""
    aside = destination.with_name(f".{destination.name}.tmp")
    aside.unlink(missing_ok=True)
    try:
        with open(source, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        write_durably(aside, memoryview(content))  # never closed by hand: the traceback of an error looks into it
        os.rename(aside, destination)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(destination.parent)
