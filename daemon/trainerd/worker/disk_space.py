"""Whether the checkpoints that a run keeps fit the disk that its run directory lies on."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from trainerd.contracts.errors import Finding
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec

_KEPT_BESIDE_PERIODIC = 5  # the last, the best, two that are being written while both are kept, and the ballast
_COPIES_PER_WEIGHT = 3  # the weight itself and two averages of its gradient (Adam's); fewer for most others


def check_disk_space(spec: RunSpec, model_bytes: int, disk: Path, run_dir: Path | None = None) -> list[Finding]:
    """A finding if the checkpoints of a model of this size that are to be kept need more than is free at `disk`.

    Of a run that goes on in `run_dir` those that it has already count as free: new ones take their place.
    """
    needed = checkpoints_bytes(spec, model_bytes)
    free = shutil.disk_usage(_nearest_existing(disk)).free + (_held_bytes(run_dir) if run_dir else 0)
    if needed <= free:
        return []
    return [
        Finding(
            f"the checkpoints to be kept do not fit the disk of {disk}",
            key="checkpoint.keep_periodic",
            expected=f"at least {needed} bytes free",
            found=f"{free} bytes free",
        )
    ]


def checkpoints_bytes(spec: RunSpec, model_bytes: int) -> int:
    """Bytes of all checkpoints that the run keeps at one time, estimated from above."""
    return model_bytes * _COPIES_PER_WEIGHT * (spec.checkpoint.keep_periodic + _KEPT_BESIDE_PERIODIC)


def _held_bytes(run_dir: Path) -> int:
    """What the checkpoints of a run take; nobody writes there now, or what is gone meanwhile is not counted."""
    held = 0
    for file in RunDirectory(run_dir).checkpoints.glob("*/*"):
        with suppress(OSError):
            held += file.stat().st_size
    return held


def _nearest_existing(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())
