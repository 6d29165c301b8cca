"""Says once what goes wrong again and again, and again where it goes wrong in another way."""

from __future__ import annotations

from logging import Logger


class Complaints:
    """What was said last about each subject."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._said: dict[str, str] = {}

    def say(self, subject: str, error: Exception) -> None:
        """Log that this has befallen the subject, unless that was the last that was said of it."""
        if self._said.get(subject) != str(error):
            self._said[subject] = str(error)
            self._log.warning("%s: %s", subject, error)

    def is_well(self, subject: str) -> None:
        """The trouble is over: the next is news, whatever it is."""
        self._said.pop(subject, None)
