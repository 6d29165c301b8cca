"""What registered models need to know of the data, and what follows from it."""

from __future__ import annotations

from typing import Annotated, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

Count = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Samples(Protocol):
    """One field of every sample; `shape` is without the batch dimension."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...


def output_shape(targets: Samples, classes: int | None) -> tuple[int, ...]:
    """The shape of one output: the target's, or one score per class where targets are class indices."""
    return targets.shape if classes is None else (classes, *targets.shape)


class AsFloat(nn.Module):
    """Inputs of any element type as float32, which the weights are made of."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float32)


def entrance(inputs: Samples) -> list[nn.Module]:
    """What has to stand in front of the first layer."""
    return [] if inputs.dtype == torch.float32 else [AsFloat()]
