"""Whether a trainer makes progress: fine, stalled or hung, by the beats on its pulse page. Pure: no clock, no file.

The worker host looks at every trainer about once a second. No learning happens in the training loop: since nothing
under LEAST_STALL_SECONDS is ever called a stall, only times of seconds matter, and those a look per second sees.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from trainerd.contracts.pages import Phase, Pulse
from trainerd.contracts.silence import Silence

LOOK_SECONDS = 1.0  # between two looks
LEAST_STALL_SECONDS = 10.0
FIRST_TIME_FACTOR = 6.0  # a phase that no attempt has completed yet may take so many times `hang_seconds`
_TIMES_SLOWER = 3.0  # than 99 % of what was seen is a stall
_REMEMBERED = 1000  # times per phase


class Health(StrEnum):
    """What a trainer's silence means."""

    FINE = "fine"
    STALLED = "stalled"
    HUNG = "hung"


class PhaseTimes:
    """How long one run's trainers were silent between two beats, by phase. Kept from one attempt to the next."""

    def __init__(self) -> None:
        self._seen: dict[Phase, deque[float]] = {}

    def learn(self, phase: Phase, seconds: float) -> None:
        """Remember a silence that a beat, or the end of the phase, has ended."""
        self._seen.setdefault(phase, deque(maxlen=_REMEMBERED)).append(seconds)

    def usual_longest_seconds(self, phase: Phase) -> float | None:
        """The 99th percentile of the silences seen in `phase`; None where no attempt has completed one yet."""
        ordered = sorted(self._seen.get(phase, ()))
        return ordered[(99 * len(ordered) - 1) // 100] if ordered else None


class Liveness:
    """How one attempt's trainer stands. `times` are its run's: they outlive the attempt."""

    def __init__(self, times: PhaseTimes, hang_seconds: float) -> None:
        self._times = times
        self._hang_seconds = hang_seconds
        self._phase = Phase.OPENING
        self._beat_ns = 0
        self._silence = Silence(most_seconds_per_look=2 * LOOK_SECONDS)

    @property
    def silent_seconds(self) -> float:
        """How long it has shown no sign of life."""
        return self._silence.seconds

    @property
    def phase(self) -> Phase:
        """What the trainer was doing when it was last looked at."""
        return self._phase

    def look(self, pulse: Pulse | None, now: float) -> Health:
        """Take in one reading of its slot (None: it has not opened its page yet) at `now`, in monotonic seconds."""
        has_beaten = pulse is not None and pulse.beat_ns != self._beat_ns
        if pulse is not None and has_beaten:
            self._note_beat(pulse)
        self._silence.look(now, has_spoken=has_beaten)
        return self._judge()

    def _note_beat(self, pulse: Pulse) -> None:
        if self._beat_ns:  # the first beat of an attempt ends no silence of a phase
            self._times.learn(self._phase, self.silent_seconds)
        self._phase, self._beat_ns = pulse.phase, pulse.beat_ns

    def _judge(self) -> Health:
        usual = self._times.usual_longest_seconds(self._phase)
        if usual is None:
            hung_after = FIRST_TIME_FACTOR * self._hang_seconds
            stalled_after = max(LEAST_STALL_SECONDS, self._hang_seconds)
        else:
            hung_after = max(self._hang_seconds, _TIMES_SLOWER * usual)
            stalled_after = max(LEAST_STALL_SECONDS, _TIMES_SLOWER * usual)
        if self.silent_seconds >= hung_after:
            return Health.HUNG
        return Health.STALLED if self.silent_seconds >= min(stalled_after, hung_after / 2) else Health.FINE
