"""How long somebody who should speak up has been silent, as far as whoever listens can tell. Pure: no clock."""

from __future__ import annotations


class Silence:
    """Counted by looks, each for `most_seconds_per_look` at most.

    While the machine slept, or the listener was stopped, nobody can say that the other was silent.
    """

    def __init__(self, most_seconds_per_look: float) -> None:
        self._most_seconds_per_look = most_seconds_per_look
        self._looked_at: float | None = None
        self.seconds = 0.0

    def look(self, at: float, *, has_spoken: bool) -> None:
        """Count one look at `at`, in monotonic seconds."""
        if has_spoken:
            self.seconds = 0.0
        elif self._looked_at is not None:
            self.seconds += min(at - self._looked_at, self._most_seconds_per_look)
        self._looked_at = at
