"""The training loss: kept per step on the device, turned into numbers about once a second, then into lines and means.

The loop only appends a tensor. Sums are made in float64 in the order of the steps, so that they do not depend on when
the tensors were read, and a resumed run repeats them bit for bit.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trainerd.contracts import journal
from trainerd.contracts.errors import Diverged

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


class TrainMeter:
    """Collects the losses of the steps. `add` is called once per step."""

    def __init__(self, log_every_steps: int) -> None:
        self.sums = Sums()
        self._log_every_steps = log_every_steps
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

    def drain(self) -> tuple[list[dict[str, Any]], Diverged | None]:
        """Read the pending losses from the device: the metric lines that they complete, and the first one not finite.

        Lines of steps before a loss that is not finite are complete: they show how it came to that.
        """
        self._drained_at = time.monotonic()
        if not self._losses:
            return [], None
        values = torch.stack(self._losses).double().tolist()
        steps = range(self._first_pending_step, self._first_pending_step + len(values))
        lines, diverged = [], None
        for step, loss, samples in zip(steps, values, self._samples, strict=True):
            if not math.isfinite(loss):
                diverged = Diverged(step, loss)
                break
            self._sum(loss, samples)
            if mark := self._marks.get(step):
                lines.append(self._complete_line(mark))
        self._losses.clear()
        self._samples.clear()
        self._marks.clear()
        return lines, diverged

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
