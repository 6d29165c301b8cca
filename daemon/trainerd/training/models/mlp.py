"""mlp: fully connected layers over the flattened input.

Shapes: x_BF, hidden_BH, output_BO, each of F and O unfolded from the sample's shape where it has several axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import nn

from trainerd.training.models.shapes import Count, Fraction, Samples, entrance, output_shape

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(nn.Sequential):
    """Layers of `hidden` sizes, each with activation and dropout, and one linear layer to the output's shape."""

    def __init__(
        self,
        inputs: Samples,
        targets: Samples,
        *,
        hidden: Sequence[Count] = (64, 64),
        dropout: Fraction = 0.0,
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        classes: Count | None = None,
    ) -> None:
        layers = entrance(inputs)
        if len(inputs.shape) != 1:
            layers.append(nn.Unflatten(0, (-1, 1)) if not inputs.shape else nn.Flatten())
        width = math.prod(inputs.shape)
        for size in hidden:
            layers += [nn.Linear(width, size), _ACTIVATIONS[activation]()]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = size
        output = output_shape(targets, classes)
        layers.append(nn.Linear(width, math.prod(output)))
        if len(output) != 1:
            layers.append(nn.Unflatten(1, output) if output else nn.Flatten(0))
        super().__init__(*layers)
