"""Whether the checkpoints that a run keeps fit the disk that its run directory lies on."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from trainerd.contracts.errors import Finding, TrainerdError
from trainerd.contracts.spec import RunSpec
from trainerd.data.source import Source
from trainerd.training.components import build_model
from trainerd.training.fake_batch import fake_tensors

_KEPT_BESIDE_PERIODIC = 4  # the last, the best, and two that are being written while both are kept
_COPIES_PER_WEIGHT = 3  # the weight itself and two averages of its gradient (Adam's); fewer for most others


def check_disk_space(spec: RunSpec, source: Source, disk: Path) -> list[Finding]:
    """A finding if the checkpoints to be kept need more than is free at `disk`; none for a model without fake form."""
    needed = checkpoints_bytes(spec, source)
    free = shutil.disk_usage(_nearest_existing(disk)).free
    if needed is None or needed <= free:
        return []
    return [
        Finding(
            f"the checkpoints to be kept do not fit the disk of {disk}",
            key="checkpoint.keep_periodic",
            expected=f"at least {needed} bytes free",
            found=f"{free} bytes free",
        )
    ]


def checkpoints_bytes(spec: RunSpec, source: Source) -> int | None:
    """Bytes of all checkpoints that the run keeps at one time, estimated from above; None if the model cannot tell."""
    try:
        with fake_tensors():
            model = build_model(spec.model, source.inputs, source.targets)
    except (TrainerdError, RuntimeError, TypeError, ValueError):
        return None  # the check of the model has said why
    weights = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(model))
    return weights * _COPIES_PER_WEIGHT * (spec.checkpoint.keep_periodic + _KEPT_BESIDE_PERIODIC)


def _tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def _nearest_existing(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())
