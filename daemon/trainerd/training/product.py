"""model.safetensors of a run: the best weights if early stopping restores them, else the last ones."""

from __future__ import annotations

import mmap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainerd.training.checkpoints.commit import replace_durably
from trainerd.training.checkpoints.snapshot import model_file
from trainerd.training.checkpoints.verify import verify
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

    Raises Damaged if that checkpoint does not verify (bad disk), OSError if the copy cannot be written.
    """
    early_stopping = run.spec.early_stopping
    restores_best = early_stopping is not None and early_stopping.restore_best
    best_step = run.standing.best_step if restores_best else None
    chosen = verify(run.directory.checkpoint(run.progress.step if best_step is None else best_step))
    _copy_durably(model_file(chosen.path), run.directory.model)
    return Product(str(run.directory.model), chosen.manifest.step, chosen.manifest.epoch)


def _copy_durably(source: Path, destination: Path) -> None:
    with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        with memoryview(content) as view:
            replace_durably(destination, view)
