"""cnn: a plain convolutional network over 1, 2 or 3 spatial axes; the input's rank decides.

Shapes: x_BCS (S = one to three spatial axes), features_BFS, output_BO for labels of whole samples, output_BOS for
targets as large as the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from trainerd.training.models.shapes import Count, Fraction, Samples, entrance, output_shape

_CONVOLUTIONS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class CNN(nn.Module):
    """Stages of `blocks` convolutions with `channels` features each; every stage but the first halves the resolution.

    Where the output has the input's spatial sizes, no stage halves and a convolution of size 1 answers for every
    position. Otherwise the features are averaged over space and a linear layer answers for the whole sample.
    Halving is by stride, averaging by mean: both have deterministic gradients on a GPU, pooling in 3D has not.
    Raises ValueError where the input is not (channels, 1 to 3 spatial axes).
    """

    def __init__(
        self,
        inputs: Samples,
        targets: Samples,
        *,
        channels: Sequence[Count] = (16, 32),
        blocks: Count = 1,
        norm: Literal["batch", "none"] = "batch",
        dropout: Fraction = 0.0,
        classes: Count | None = None,
    ) -> None:
        super().__init__()
        dims = len(inputs.shape) - 1
        if dims not in _CONVOLUTIONS:
            raise ValueError(f"cnn needs inputs of shape [channels, 1 to 3 spatial axes], found {list(inputs.shape)}")
        if not channels:
            raise ValueError("cnn needs at least one entry in channels")
        output = output_shape(targets, classes)
        is_dense = output[1:] == inputs.shape[1:]
        layers, width = entrance(inputs), inputs.shape[0]
        for stage, size in enumerate(channels):
            for block in range(blocks):
                halves = stage > 0 and block == 0 and not is_dense
                layers += _block(dims, width, size, 2 if halves else 1, norm)
                width = size
        self.features = nn.Sequential(*layers)
        self.head = _dense_head(dims, width, output[0], dropout) if is_dense else _Head(width, output, dropout)

    def forward(self, x_BCS: Tensor) -> Tensor:
        output: Tensor = self.head(self.features(x_BCS))
        return output


class _Head(nn.Module):
    """features_BFS -> output_BO, unfolded to the output's shape."""

    def __init__(self, width: int, output: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, math.prod(output))
        self.output = output

    def forward(self, features_BFS: Tensor) -> Tensor:
        mean_BF = features_BFS.flatten(2).mean(dim=2)
        output_BO: Tensor = self.linear(self.dropout(mean_BF))
        return output_BO if len(self.output) == 1 else output_BO.view(-1, *self.output)


def _dense_head(dims: int, width: int, channels: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Dropout(dropout), _CONVOLUTIONS[dims](width, channels, 1))


def _block(dims: int, width: int, size: int, stride: int, norm: str) -> list[nn.Module]:
    convolution = _CONVOLUTIONS[dims](width, size, 3, stride=stride, padding=1, bias=norm == "none")
    return [convolution, *([_NORMS[dims](size)] if norm == "batch" else []), nn.ReLU(inplace=True)]
