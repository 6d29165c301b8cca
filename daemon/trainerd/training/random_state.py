"""Every random number generator that a step may draw from: torch (CPU and CUDA), numpy's global one, Python's."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

_NUMPY_SEED_LIMIT = 2**32


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % _NUMPY_SEED_LIMIT)  # the global generator is what user code draws from
    random.seed(seed)


def capture(device: torch.device) -> dict[str, Any]:
    """The states, as `state_tree` can keep them. `device` is the run's: other GPUs draw nothing."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }


def restore(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
