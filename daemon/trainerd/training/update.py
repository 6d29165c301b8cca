"""One optimizer update: forward, backward, clip, step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainerd.data.source import Batch
from trainerd.training.optimizers import direct_step
from trainerd.training.precision import Precision
from trainerd.training.schedules import Schedule


class Group(NamedTuple):
    """The batches of one optimizer update. Never crosses an epoch's end, so the last one of an epoch may be smaller."""

    batches: tuple[Batch, ...]
    samples: int


@dataclass
class Update:
    """The parts of a step, and the two halves that it is made of."""

    model: nn.Module
    loss: Callable[..., Tensor]
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    grad_clip: float | None

    def __post_init__(self) -> None:
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._step = direct_step(self.optimizer)
        self._parameters = [each for group in self.optimizer.param_groups for each in group["params"]]

    def accumulate(self, group: Group) -> Tensor:
        """Add the gradients of the group's mean loss, each batch weighted by its samples; returns it detached."""
        if len(group.batches) == 1:
            return self._backward(group.batches[0], 1.0)
        shares = [self._backward(batch, batch.samples / group.samples) for batch in group.batches]
        return torch.stack(shares).sum()

    def apply(self, step: int) -> float:
        """Clip, update the parameters as update number `step`, clear the gradients; the learning rate used."""
        scale = self.schedule.lr_scale(step)
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * scale
        scaler = self.precision.scaler
        if self.grad_clip is not None:
            if scaler:
                scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self.grad_clip)
        if scaler:
            scaler.step(self.optimizer)
            scaler.update()
        else:
            self._step()
        for parameter in self._parameters:  # what zero_grad() does, without its 10 us of bookkeeping
            parameter.grad = None
        return float(self._base_rates[0] * scale)

    def _backward(self, batch: Batch, share: float) -> Tensor:
        with self.precision.autocast():
            loss = self.loss(self.model(*batch.inputs), *batch.targets)
        if share != 1.0:
            loss = loss * share
        scaler = self.precision.scaler
        (scaler.scale(loss) if scaler else loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()
