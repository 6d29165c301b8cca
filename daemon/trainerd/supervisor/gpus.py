"""Which GPUs there are, by UUID, and how many a run needs. Asks the driver's files in /proc, never CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainerd.contracts.settings import Settings

_DRIVER = Path("/proc/driver/nvidia/gpus")


def find_gpus(settings: Settings, driver: Path = _DRIVER) -> tuple[str, ...]:
    """UUIDs of the GPUs that runs may have: those of the settings, else all that the NVIDIA driver names."""
    if settings.gpus is not None:
        return settings.gpus
    uuids = [_uuid_in(information.read_text()) for information in sorted(driver.glob("*/information"))]
    return tuple(uuid for uuid in uuids if uuid)


def gpus_needed(spec: Mapping[str, Any], gpu_count: int) -> int:
    """How many GPUs a run takes on a machine with `gpu_count`: `auto` is one if there is one and the run may use it."""
    asked = spec["resources"]["gpus"]
    if asked != "auto":
        return int(asked)
    return 0 if spec["trainer"]["device"] == "cpu" else min(1, gpu_count)


def _uuid_in(information: str) -> str | None:
    """The value of the line `GPU UUID:  GPU-...`; None while the driver does not know it."""
    for line in information.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "GPU UUID" and "?" not in value:
            return value.strip()
    return None
