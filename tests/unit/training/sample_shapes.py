"""Shapes of samples for tests, without a source of data behind them."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Shape:
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def batch(self, size: int) -> torch.Tensor:
        if self.dtype.is_floating_point:
            return torch.randn(size, *self.shape).to(self.dtype)
        return torch.randint(0, 2, (size, *self.shape)).to(self.dtype)
