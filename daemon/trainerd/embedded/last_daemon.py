"""What the last daemon of a home has left behind: parts of it that still save after it was killed outright."""

from __future__ import annotations

import time
from collections.abc import Callable

from trainerd.contracts.errors import AlreadyRunning
from trainerd.contracts.locks import holder_of
from trainerd.contracts.places import Home
from trainerd.embedded.part import NAMES

_LOOK_AGAIN_SECONDS = 0.05


def wait_for_last_daemon(home: Home, patience_seconds: float, say: Callable[[str], None]) -> None:
    """Return once no part of a daemon holds its place in `home`. Raises AlreadyRunning, naming the one that stays."""
    deadline = time.monotonic() + patience_seconds
    for name in NAMES:
        said = None
        while (holder := holder_of(home.lock(name))) is not None:
            if time.monotonic() >= deadline:
                raise AlreadyRunning(f"trainerd {name}", str(home.path), holder)
            if holder != said:
                say(f"waiting for process {holder} of the last daemon to end (trainerd {name})")
                said = holder
            time.sleep(_LOOK_AGAIN_SECONDS)
