"""Who is silent for how long, on a clock of the test's own."""

from __future__ import annotations

from trainerd.contracts.silence import Silence


def test_silence_grows_with_every_look_and_ends_with_a_word() -> None:
    silence = Silence(most_seconds_per_look=2.0)
    for at in (10.0, 11.0, 12.5):
        silence.look(at, has_spoken=False)
    assert silence.seconds == 2.5
    silence.look(13.0, has_spoken=True)
    assert silence.seconds == 0.0
    silence.look(14.0, has_spoken=False)
    assert silence.seconds == 1.0


def test_while_nobody_listened_nobody_was_silent() -> None:
    """The machine slept, or the listener was stopped."""
    silence = Silence(most_seconds_per_look=2.0)
    silence.look(10.0, has_spoken=True)
    silence.look(86_410.0, has_spoken=False)
    assert silence.seconds == 2.0
