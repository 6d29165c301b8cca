"""Early stopping as pure records: what is watched, and how it stands after each epoch.

One `best` serves patience, the best checkpoint and the run's JSON. Looked at once per epoch, after its validation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from trainerd.contracts.spec import EarlyStopping


@dataclass(frozen=True)
class Watch:
    """The policy: which metric, what counts as an improvement, and how long to wait for one (None: for ever)."""

    monitor: str
    mode: Literal["min", "max"] = "min"
    min_delta: float = 0.0
    patience: int | None = None  # epochs
    warmup_epochs: int = 0  # they count neither as best nor towards patience

    @classmethod
    def of(cls, early_stopping: EarlyStopping | None, monitor: tuple[str, Literal["min", "max"]]) -> Watch:
        """The watch of a run; without early stopping it only keeps track of the best epoch of `monitor`."""
        if early_stopping is None:
            return cls(*monitor)
        chosen = early_stopping
        return cls(chosen.monitor, chosen.mode, chosen.min_delta, chosen.patience, chosen.warmup_epochs)


@dataclass(frozen=True)
class Standing:
    """How the watched metric stands after `last_epoch` epochs. None: there is no such value yet."""

    best: float | None = None
    best_epoch: int | None = None
    best_step: int | None = None
    last: float | None = None  # may be NaN or infinite, unlike best
    last_epoch: int = 0

    def observe(self, watch: Watch, epoch: int, step: int, value: float) -> Standing:
        """The standing after epoch `epoch` (from 1), whose last update was `step`, measured `value`."""
        after = replace(self, last=value, last_epoch=epoch)
        if epoch <= watch.warmup_epochs or not is_improvement(value, self.best, watch.min_delta, watch.mode):
            return after
        return replace(after, best=value, best_epoch=epoch, best_step=step)

    def epochs_since_best(self, watch: Watch) -> int:
        """Epochs since the best one; since the end of the warm-up where there is none yet."""
        start = watch.warmup_epochs if self.best_epoch is None else self.best_epoch
        return max(0, self.last_epoch - start)

    def is_exhausted(self, watch: Watch) -> bool:
        """Whether patience has run out: best 280 and patience 50 stop after epoch 330."""
        return watch.patience is not None and self.epochs_since_best(watch) >= watch.patience

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Standing:
        return cls(**document)


def is_improvement(value: float, best: float | None, min_delta: float, mode: Literal["min", "max"]) -> bool:
    """Whether `value` is strictly beyond best -/+ min_delta. NaN and infinity never are; the first finite value is."""
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    return value < best - min_delta if mode == "min" else value > best + min_delta
