"""The training loss: kept per step on the device, turned into numbers about once a second, then into lines and means.

The loop only appends a tensor, and never waits for the device. Sums are made in float64 in the order of the steps, so
that they do not depend on when the tensors were read, and a resumed run repeats them bit for bit.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainerd.contracts import journal
from trainerd.contracts.errors import Diverged
from trainerd.training.loss_transfer import Losses, Transfer, begin_transfer

DRAIN_SECONDS = 1.0
_PENDING_LIMIT = 4096  # steps: bounds what an epoch of very fast steps holds


@dataclass(slots=True)
class Sums:
    """Weighted sums of the loss, by samples; part of every checkpoint."""

    line_loss: float = 0.0  # since the last line
    line_samples: int = 0
    epoch_loss: float = 0.0
    epoch_samples: int = 0


@dataclass(frozen=True)
class _Mark:
    """What a line needs from the moment of its step."""

    step: int
    epoch: int
    time: str
    learning_rate: float
    samples_per_second: float


@dataclass(frozen=True)
class _UnderWay:
    """Steps whose losses are on their way from the device."""

    first_step: int
    samples: list[int]
    transfer: Transfer


@dataclass
class Drained:
    """Consecutive steps whose losses have come: the lines that they complete, and the first loss not finite.

    Nothing is taken of steps from a loss that is not finite on. Lines before it show how it came to that.
    """

    first_step: int = 0
    losses: Losses = field(default_factory=lambda: np.empty(0))
    lines: list[dict[str, Any]] = field(default_factory=list)
    diverged: Diverged | None = None

    @property
    def steps(self) -> NDArray[np.int64]:
        """Their numbers."""
        return np.arange(self.first_step, self.first_step + len(self.losses))


class TrainMeter:
    """Collects the losses of the steps. `add` is called once per step."""

    def __init__(
        self, log_every_steps: int, begin_transfer: Callable[[Sequence[Tensor]], Transfer] = begin_transfer
    ) -> None:
        self.sums = Sums()
        self._log_every_steps = log_every_steps
        self._begin_transfer = begin_transfer
        self._under_way: _UnderWay | None = None
        self._losses: list[Tensor] = []
        self._samples: list[int] = []
        self._first_pending_step = 0
        self._marks: dict[int, _Mark] = {}
        self._rate_from = time.perf_counter()
        self._rate_samples = 0
        self._drained_at = time.monotonic()

    def add(self, step: int, epoch: int, loss: Tensor, samples: int, learning_rate: float) -> None:
        """Take the loss of one step: a detached scalar, the mean over `samples`."""
        if not self._losses:
            self._first_pending_step = step
        self._losses.append(loss)
        self._samples.append(samples)
        self._rate_samples += samples
        if step % self._log_every_steps == 0:
            self._marks[step] = _Mark(step, epoch, journal.now(), learning_rate, self._measure_rate())

    def is_full(self) -> bool:
        """Whether it is time to drain: a second has passed, or very many steps."""
        return len(self._losses) >= _PENDING_LIMIT or time.monotonic() - self._drained_at >= DRAIN_SECONDS

    def drain(self, *, wait: bool = True) -> Drained:
        """Take the losses that have come from the device, and send off those that are pending.

        With `wait` all of them are taken. Without it those that have to come from a GPU are taken by a later call.
        """
        self._drained_at = time.monotonic()
        drained = Drained()
        self._receive(drained, wait)
        if self._losses and self._under_way is None:
            self._under_way = _UnderWay(self._first_pending_step, self._samples, self._begin_transfer(self._losses))
            self._losses, self._samples = [], []
            self._receive(drained, wait)
        return drained

    def finish_epoch(self) -> float | None:
        """The mean loss of the epoch's samples; None if it had none. Call after `drain`."""
        sums = self.sums
        mean = sums.epoch_loss / sums.epoch_samples if sums.epoch_samples else None
        sums.epoch_loss, sums.epoch_samples = 0.0, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Call after `drain`: what is pending is not part of it."""
        return asdict(self.sums)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums = Sums(**state)

    def _receive(self, drained: Drained, wait: bool) -> None:
        """Add what was under way, if it has come."""
        arrived = self._under_way
        if arrived is None or not (wait or arrived.transfer.is_done()):
            return
        self._under_way = None
        drained.first_step = drained.first_step or arrived.first_step
        losses, count = arrived.transfer.losses(), 0
        for step, loss, samples in zip(itertools.count(arrived.first_step), losses.tolist(), arrived.samples):
            if not math.isfinite(loss):
                drained.diverged = drained.diverged or Diverged(step, loss)
            if drained.diverged:
                break
            count += 1
            self._sum(loss, samples)
            if mark := self._marks.pop(step, None):
                drained.lines.append(self._complete_line(mark))
        drained.losses = np.concatenate([drained.losses, losses[:count]])

    def _sum(self, loss: float, samples: int) -> None:
        sums = self.sums
        sums.line_loss += loss * samples
        sums.line_samples += samples
        sums.epoch_loss += loss * samples
        sums.epoch_samples += samples

    def _complete_line(self, mark: _Mark) -> dict[str, Any]:
        mean = self.sums.line_loss / self.sums.line_samples
        self.sums.line_loss, self.sums.line_samples = 0.0, 0
        return {
            "time": mark.time,
            "step": mark.step,
            "epoch": mark.epoch,
            "split": "train",
            "loss": mean,
            "lr": mark.learning_rate,
            "samples_per_second": mark.samples_per_second,
        }

    def _measure_rate(self) -> float:
        now = time.perf_counter()
        rate = self._rate_samples / max(now - self._rate_from, 1e-9)
        self._rate_from, self._rate_samples = now, 0
        return round(rate, 1)
