"""The same problem with lightning's Trainer, without its progress bar, logger and checkpoints. Prints steps/s.

Only run where lightning is installed (`pip install lightning`). The problem is that of loop_limit.py; the first epoch
is not counted.
"""

import argparse
import logging
import time
import warnings
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

arguments = argparse.ArgumentParser()
arguments.add_argument("--steps", type=int, default=4000)
arguments.add_argument("--threads", type=int, default=1)
given = arguments.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(0)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


class Problem(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.loss_of = nn.MSELoss()
        self.epoch_ends: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        x_BF, y_B1 = batch
        loss: Tensor = self.loss_of(self.model(x_BF), y_B1)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.01)

    def on_train_epoch_end(self) -> None:
        self.epoch_ends.append(time.perf_counter())


quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
loader = DataLoader(TensorDataset(torch.randn(4096, 16), torch.randn(4096, 1)), batch_size=64, shuffle=True)
epochs = 1 + max(1, given.steps // len(loader))
problem = Problem()
lightning.Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **quiet).fit(problem, loader)
print((epochs - 1) * len(loader) / (problem.epoch_ends[-1] - problem.epoch_ends[0]))
