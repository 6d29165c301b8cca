"""The registered metrics: what validation also measures. Scalars on the output's device; nothing here waits for it.

Shapes as in losses.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor


def accuracy() -> Callable[[Tensor, Tensor], Tensor]:
    """Share of positions where the largest of output_BKX along K is the class target_BX."""

    def compare(output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(dim=1) == target).float().mean()

    return compare


def mean_absolute_error() -> Callable[[Tensor, Tensor], Tensor]:
    """Mean of |output_BX - target_BX| over all elements, at least in float32."""

    def compare(output: Tensor, target: Tensor) -> Tensor:
        return (output.float() - target).abs().mean()

    return compare


MEASURES: Mapping[str, Callable[..., Callable[..., Tensor]]] = {"accuracy": accuracy, "mae": mean_absolute_error}
