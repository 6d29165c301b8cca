"""Saves a state of 400 MB while training, beside the plain ways of copying and writing it. Prints seconds as JSON.

The run is a real one, in a run directory of its own: the loop's own steps, the run's own save. Each turn takes every
measure once: steps undisturbed, a memcpy, a save with the steps while it is being written, a raw write, a torch.save.
"""

import argparse
import ctypes
import itertools
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from trainerd.config import compose, spec_to_yaml
from trainerd.contracts.journal import Event, Journal, read_journal
from trainerd.contracts.pages import create_pages
from trainerd.contracts.run_directory import RunDirectory
from trainerd.training import training_state
from trainerd.training.ballast import Ballast
from trainerd.training.loop import take_step
from trainerd.training.open_run import begin_attempt, open_run
from trainerd.training.run import Run
from trainerd.training.update import Group

CONFIGURATION = """
name: saving
data: {{kind: synthetic, samples: 4096, inputs: {{shape: [64]}}, targets: {{shape: [1]}}, batch_size: 16}}
model: {{name: mlp, args: {{hidden: [{width}, {width}, {width}], activation: relu}}}}
loss: {{name: mse}}
optimizer: {{name: adamw, lr: 1e-4}}
trainer: {{max_epochs: 1000000, device: cpu}}
checkpoint: {{every_minutes: null}}
resources: {{cpus: {threads}}}
"""
BLOCK_BYTES = 1 << 20
WARM_UP_STEPS = 3
UNDISTURBED_STEPS = 8


class Saving:
    """A run that trains, and what is compared with its saves."""

    def __init__(self, directory: RunDirectory, threads: int, width: int) -> None:
        self.run = _open(directory, threads, width)
        self._groups = _groups(self.run)
        self.step_seconds(WARM_UP_STEPS)
        self.state_bytes = sum(tensor.nbytes for tensor in _tensors(self.run))
        self._source = torch.ones(self.state_bytes, dtype=torch.uint8)
        self._target = torch.ones(self.state_bytes, dtype=torch.uint8)
        self._aside = directory.path / "aside"

    def take_turn(self) -> dict[str, list[float]]:
        undisturbed = self.step_seconds(UNDISTURBED_STEPS)
        memcpy = _seconds(self._copy)
        stall = _seconds(self.run.save_checkpoint)
        disturbed = self._steps_until_committed()
        return {
            "undisturbed": undisturbed,
            "memcpy": [memcpy],
            "stall": [stall],
            "disturbed": disturbed,
            "durable": [self._seconds_until_durable()],
            "raw": [self._raw_seconds()],
            **self._torch_save_seconds(),
        }

    def step_seconds(self, count: int) -> list[float]:
        return [_seconds(self._step) for _ in range(count)]

    def _step(self) -> None:
        """What the loop does for one step."""
        take_step(self.run, next(self._groups))
        self.run.save_checkpoint_if_due()
        self.run.is_asked_to_stop()

    def _steps_until_committed(self) -> list[float]:
        saved, seconds = self.run.progress.step, []
        while self.run.keeper.newest_committed != saved:
            seconds.append(_seconds(self._step))
        self.run.keeper.settle()
        return seconds

    def _seconds_until_durable(self) -> float:
        """What the journal says of the newest checkpoint: from the call of save until it was durable."""
        lines = (line.event for line in reversed(read_journal(self.run.directory.events)))
        return float(next(event["seconds"] for event in lines if event["event"] == Event.CHECKPOINT))

    def _copy(self) -> None:
        ctypes.memmove(self._target.data_ptr(), self._source.data_ptr(), self.state_bytes)

    def _raw_seconds(self) -> float:
        seconds = _seconds(self._write_raw)
        self._aside.unlink()
        return seconds

    def _write_raw(self) -> None:
        """The same number of bytes into one file, in the same blocks, and one fsync."""
        view = self._source.numpy().data
        fd = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for offset in range(0, self.state_bytes, BLOCK_BYTES):
            os.pwrite(fd, view[offset : offset + BLOCK_BYTES], offset)
        os.fsync(fd)
        os.close(fd)

    def _torch_save_seconds(self) -> dict[str, list[float]]:
        """Of the same tensors into a file; and until that is synced, which is what a save here promises."""
        update = self.run.update
        state = {"model": update.model.state_dict(), "optimizer": update.optimizer.state_dict()}
        seconds = _seconds(lambda: torch.save(state, self._aside))
        with open(self._aside, "rb+") as file:
            sync_seconds = _seconds(lambda: os.fsync(file.fileno()))
        self._aside.unlink()
        return {"torch_save": [seconds], "torch_save_synced": [seconds + sync_seconds]}


def _open(directory: RunDirectory, threads: int, width: int) -> Run:
    composed = compose(directory.path / "saving.yaml", CONFIGURATION.format(threads=threads, width=width))
    directory.spec.write_text(spec_to_yaml(composed.spec))
    create_pages(directory.orders_page, directory.pulse_page)
    journal = Journal(directory.events, 1)
    run = open_run(begin_attempt(directory, journal, Ballast(directory.ballast), 1, 0, lambda _: None))
    for number in (signal.SIGTERM, signal.SIGINT):  # a trainer obeys them at its next step; a benchmark just ends
        signal.signal(number, signal.SIG_DFL)
    return run


def _groups(run: Run) -> Iterator[Group]:
    """The batches of one endless epoch after the other; nothing is validated."""
    return itertools.chain.from_iterable(run.batch_groups(epoch) for epoch in itertools.count(1))


def _tensors(run: Run) -> list[torch.Tensor]:
    state = training_state.capture(run)
    optimizer = state.training["optimizer"]["state"].values()
    return [*state.model.values(), *(each for slots in optimizer for each in slots.values())]


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--turns", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--width", type=int, default=4096, help="of the three layers; 4096: 407 MB of state")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a disk: /tmp may be memory
        saving = Saving(RunDirectory(Path(folder)), given.threads, given.width)
        saving.take_turn()
        print(json.dumps([saving.take_turn() for _ in range(given.turns)]))


if __name__ == "__main__":
    main()
