"""What is known about a run that is being watched: the fold of its stream. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from trainerd.contracts.journal import Event

Json = dict[str, Any]

_RATE_SECONDS = 20.0  # the rate is that of the last so many seconds


@dataclass
class Progress:
    """Grows with every message of `/follow`; a message that comes twice changes nothing."""

    run: Json
    train_loss: float | None = None  # the mean since the last line, newer than the epoch's
    val_loss: float | None = None
    epochs: dict[int, Json] = field(default_factory=dict)  # epoch -> its line in the journal
    _steps: deque[tuple[float, int]] = field(default_factory=deque)  # (seconds, step)

    def see_run(self, run: Json, seconds: float) -> None:
        """The run as it is now; `seconds` is a monotonic clock."""
        self.run = run
        if self._steps and run["step"] < self._steps[-1][1]:
            self._steps.clear()  # a new attempt went back to a checkpoint
        self._steps.append((seconds, run["step"]))
        while len(self._steps) > 2 and seconds - self._steps[1][0] >= _RATE_SECONDS:
            self._steps.popleft()

    def see_metrics(self, point: Json) -> None:
        if point.get("split") == "val":
            self.val_loss = point.get("loss")
        elif point.get("split") == "train":
            self.train_loss = point.get("loss")

    def see_event(self, event: Json) -> None:
        if event["event"] == Event.EPOCH:
            self.epochs[event["epoch"]] = event

    @property
    def steps_per_second(self) -> float | None:
        """None until the run has been seen to move."""
        if len(self._steps) < 2:
            return None
        (start, first), (end, last) = self._steps[0], self._steps[-1]
        return (last - first) / (end - start) if end > start and last > first else None

    @property
    def seconds_to_max_epochs(self) -> float | None:
        """How long the run will take if nothing stops it early."""
        steps_per_epoch, max_epochs, rate = (
            self.run.get("steps_per_epoch"),
            self.run.get("max_epochs"),
            self.steps_per_second,
        )
        if not steps_per_epoch or not max_epochs or not rate:
            return None
        return float(max(0, steps_per_epoch * max_epochs - self.run["step"]) / rate)

    @property
    def epochs_since_best(self) -> int | None:
        monitor = self.run.get("monitor")
        if not monitor or monitor.get("best_epoch") is None:
            return None
        return max(0, int(self.run["epoch"] - monitor["best_epoch"]))

    def losses(self, name: str) -> list[float | None]:
        """The series `val_loss` or `train_loss`, one value an epoch from the first to the last that is known."""
        if not self.epochs:
            return []
        return [self.epochs.get(epoch, {}).get(name) for epoch in range(min(self.epochs), max(self.epochs) + 1)]
