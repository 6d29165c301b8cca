"""The limit of a training loop: what is left when everything but the arithmetic is taken away. Prints steps/s.

Nothing of trainerd is imported. Batches are gathered before the clock starts, the optimizer is fused, no value is ever
read back. The last two lines of the problem (16 -> 64 -> 64 -> 1, batch 64, AdamW, mse) are those of every loop_*.py.
"""

import argparse
import time

import torch
from torch import nn

arguments = argparse.ArgumentParser()
arguments.add_argument("--steps", type=int, default=4000)
arguments.add_argument("--threads", type=int, default=1)
given = arguments.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(0)
inputs, targets = torch.randn(4096, 16), torch.randn(4096, 1)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
loss_of = nn.MSELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
batches = list(zip(inputs.chunk(64), targets.chunk(64), strict=True))


def take_steps(count: int) -> None:
    for step in range(count):
        x_BF, y_B1 = batches[step % len(batches)]
        loss = loss_of(model(x_BF), y_B1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


take_steps(200)
started = time.perf_counter()
take_steps(given.steps)
print(given.steps / (time.perf_counter() - started))
