"""Waiting in tests: for a condition, with a deadline and a reason; never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
_LOOK_AGAIN_SECONDS = 0.01


def poll(look: Callable[[], Found], reason: str | Callable[[], str], seconds: float = 20.0) -> Found:
    """The first true thing that `look` finds; fails with the reason where there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {reason if isinstance(reason, str) else reason()}")
        time.sleep(_LOOK_AGAIN_SECONDS)
    return found
