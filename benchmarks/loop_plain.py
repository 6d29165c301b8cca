"""The training loop that a careful person writes: DataLoader, AdamW as it comes, a look at the loss every 10 steps.

Prints steps/s over whole epochs; the first epoch is not counted. The problem is that of loop_limit.py.
"""

import argparse
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

arguments = argparse.ArgumentParser()
arguments.add_argument("--steps", type=int, default=4000)
arguments.add_argument("--threads", type=int, default=1)
given = arguments.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(0)
samples = TensorDataset(torch.randn(4096, 16), torch.randn(4096, 1))
loader = DataLoader(samples, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
loss_of = nn.MSELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
history: list[float] = []


def train_epoch() -> None:
    for step, (x_BF, y_B1) in enumerate(loader, start=1):
        optimizer.zero_grad()
        loss = loss_of(model(x_BF), y_B1)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            history.append(loss.item())


train_epoch()
epochs = max(1, given.steps // len(loader))
started = time.perf_counter()
for _ in range(epochs):
    train_epoch()
print(epochs * len(loader) / (time.perf_counter() - started))
