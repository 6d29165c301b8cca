"""What a process tells whoever keeps it alive: systemd, or `trainerd up` in its place (sd_notify(3))."""

from __future__ import annotations

import os
import time

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def tell_service_manager(message: str) -> None:
    """Say `message`, where somebody listens; one that does not read holds nobody up."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    import sdnotify

    notifier = sdnotify.SystemdNotifier()
    if notifier.socket is not None:
        notifier.socket.setblocking(False)
    notifier.notify(message)


def ask_for_time(seconds: float) -> None:
    """Have it wait so much longer, from now on, for an end that makes progress."""
    tell_service_manager(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")


def seconds_between_signs_of_life() -> float | None:
    """How often to say ALIVE: three times within the time that is waited for it; None where nobody waits."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    return int(limit) / 3e6 if limit.isdigit() and int(limit) > 0 else None


class SignsOfLife:
    """Says ALIVE as often as is waited for, however often its process gets to it."""

    def __init__(self) -> None:
        self._interval_seconds = seconds_between_signs_of_life()
        self._next_at = 0.0

    def show(self) -> None:
        """Say it, if it is time."""
        at = time.monotonic()
        if self._interval_seconds is not None and at >= self._next_at:
            self._next_at = at + self._interval_seconds
            tell_service_manager(ALIVE)
