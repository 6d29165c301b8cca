"""The registered losses: what training minimises. Each is a mean over the batch, so batches can be weighted by size.

Shapes: output_BX, target_BX float; for class indices output_BKX float, target_BX integer (B = batch, K = classes,
X = any further axes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional


def mean_squared_error() -> Callable[[Tensor, Tensor], Tensor]:
    """Mean of (output_BX - target_BX)^2 over all elements."""
    return functional.mse_loss


def cross_entropy(label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean negative log likelihood of softmax(output_BKX) at the class target_BX, or under probabilities target_BKX."""

    def compare(output: Tensor, target: Tensor) -> Tensor:
        classes = target if target.is_floating_point() else target.long()
        return functional.cross_entropy(output, classes, label_smoothing=label_smoothing)

    return compare


LOSSES: Mapping[str, Callable[..., Callable[..., Tensor]]] = {"mse": mean_squared_error, "cross_entropy": cross_entropy}
