"""The built-in training loop, through the trainer's own entry, in a run directory of its own. Prints steps/s.

The problem is that of loop_limit.py, as a configuration. The clock is the run's journal: from the end of the first
epoch to the end of the last one.
"""

import argparse
import tempfile
from datetime import datetime
from pathlib import Path

from trainerd.config import compose, spec_to_yaml
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.pages import create_pages
from trainerd.contracts.run_directory import RunDirectory
from trainerd.training.trainer import run_trainer

STEPS_PER_EPOCH = 64
CONFIGURATION = """
name: loop
data: {kind: synthetic, samples: 4096, inputs: {shape: [16]}, targets: {shape: [1]}, batch_size: 64}
model: {name: mlp, args: {hidden: [64, 64], activation: relu}}
loss: {name: mse}
optimizer: {name: adamw, lr: 1e-3, weight_decay: 0.01}
trainer: {max_epochs: 1, device: cpu}
checkpoint: {every_minutes: null}
"""

arguments = argparse.ArgumentParser()
arguments.add_argument("--steps", type=int, default=4000)
arguments.add_argument("--threads", type=int, default=1)
given = arguments.parse_args()


def measure(directory: RunDirectory) -> float:
    """Steps per second of one run in `directory`."""
    epochs = 1 + max(1, given.steps // STEPS_PER_EPOCH)
    overrides = [f"trainer.max_epochs={epochs}", f"resources.cpus={given.threads}"]
    composed = compose(directory.path / "loop.yaml", CONFIGURATION, overrides)
    directory.spec.write_text(spec_to_yaml(composed.spec))
    create_pages(directory.orders_page, directory.pulse_page)
    if run_trainer(directory, attempt=1, settled_order=0, say=lambda _: None) != 0:
        raise SystemExit(directory.events.read_text())
    lines, _ = read_lines(directory.events)
    first, *_, last = (line for line in lines if line["event"] == "epoch")
    seconds = (datetime.fromisoformat(last["time"]) - datetime.fromisoformat(first["time"])).total_seconds()
    return float((last["step"] - first["step"]) / seconds)


with tempfile.TemporaryDirectory() as folder:
    print(measure(RunDirectory(Path(folder))))
