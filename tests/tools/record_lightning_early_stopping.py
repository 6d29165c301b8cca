"""Writes tests/unit/training/lightning_early_stopping.json: what lightning's own EarlyStopping makes of our sequences.

Run by hand where lightning is installed, after the sequences have changed:

    python tests/tools/record_lightning_early_stopping.py

A real Trainer runs one batch per epoch and logs the sequence as val_loss. check_finite is off: on, lightning stops at
the first NaN, which trainerd counts as no improvement. lightning has no warm-up; it numbers epochs from 0.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

TESTS = Path(__file__).parents[1] / "unit/training"
sys.path.insert(0, str(TESTS))

from early_stopping_sequences import SEQUENCES, Sequence  # noqa: E402 - found through the line above


class Replay(lightning.LightningModule):
    """Logs a given value as val_loss after each epoch of one batch."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = values
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.weight * batch).sum()

    def validation_step(self, _batch: torch.Tensor) -> None:
        self.log("val_loss", torch.tensor(self.values[self.current_epoch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def stopped_epoch(sequence: Sequence) -> int | None:
    """The epoch, from 0, after which lightning stops; None if it never does."""
    stopping = EarlyStopping("val_loss", sequence.min_delta, sequence.patience, mode=sequence.mode, check_finite=False)
    trainer = lightning.Trainer(
        max_epochs=len(sequence.values),
        callbacks=[stopping],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    batches = DataLoader(torch.ones(1, 1))
    trainer.fit(Replay(sequence.values), batches, batches)
    has_stopped = stopping.stopping_reason.name == "PATIENCE_EXHAUSTED"
    return stopping.stopped_epoch if has_stopped else None


def main() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    document = {
        "lightning": version("lightning"),
        "stopped_epoch": {sequence.name: stopped_epoch(sequence) for sequence in SEQUENCES},
    }
    (TESTS / "lightning_early_stopping.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
