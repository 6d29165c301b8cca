"""How the losses of many steps come from the run's device into the process without the loop waiting for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Losses = NDArray[np.float64]


class Transfer(Protocol):
    """Losses on their way."""

    def is_done(self) -> bool:
        """Whether `losses` would not wait."""

    def losses(self) -> Losses:
        """The losses in the order of their steps; waits until they have come."""


def begin_transfer(losses: Sequence[Tensor]) -> Transfer:
    """Send off scalars of one device. On the CPU they are there already."""
    stacked = torch.stack(list(losses)).double()
    return _FromGpu(stacked) if stacked.is_cuda else _Arrived(stacked)


class _Arrived:
    def __init__(self, stacked: Tensor) -> None:
        self._losses: Losses = stacked.numpy()

    def is_done(self) -> bool:
        return True

    def losses(self) -> Losses:
        return self._losses


class _FromGpu:
    """A copy into pinned memory behind the steps that are queued already; an event says when it is through."""

    def __init__(self, stacked: Tensor) -> None:
        self._pinned = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
        self._pinned.copy_(stacked, non_blocking=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record(torch.cuda.current_stream(stacked.device))

    def is_done(self) -> bool:
        return bool(self._event.query())  # type: ignore[no-untyped-call]

    def losses(self) -> Losses:
        self._event.synchronize()
        return self._pinned.numpy()
