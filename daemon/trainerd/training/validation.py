"""Means over the validation samples, accumulated on the device and read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from trainerd.data.source import Batch
from trainerd.training.precision import Precision


class Means:
    """Mean loss and measures per sample. Weighted by batch size: the last batch may be short."""

    def __init__(
        self, loss: Callable[..., Tensor], measures: Mapping[str, Callable[..., Tensor]], precision: Precision
    ):
        self._measures = {"loss": loss, **measures}
        self._precision = precision
        self._sums: dict[str, Tensor] = {}
        self._samples = 0

    def add(self, model: nn.Module, batch: Batch) -> None:
        """Take one batch. The model is in eval mode and no gradient is recorded: see `Run.measuring`."""
        with self._precision.autocast():
            output = model(*batch.inputs)
            values = {name: measure(output, *batch.targets) for name, measure in self._measures.items()}
        for name, value in values.items():
            # A measure may read its own value (.item()), which a check on fake tensors cannot follow.
            weighted = torch.as_tensor(value).detach().to(torch.float64) * batch.samples
            self._sums[name] = self._sums[name] + weighted if name in self._sums else weighted
        self._samples += batch.samples

    def values(self) -> dict[str, float]:
        """The means by name; empty if no batch was added."""
        return {name: float(total) / self._samples for name, total in self._sums.items()}
