"""When a trainer's silence is a stall, and when a hang: looks once a second at a page that a test writes."""

from __future__ import annotations

from trainerd.contracts.pages import Phase, Pulse
from trainerd.worker.liveness import Health, Liveness, PhaseTimes

HANG_SECONDS = 300.0


class Watched:
    """A trainer that is looked at once a second, on a clock of the test's own."""

    def __init__(self, times: PhaseTimes | None = None, hang_seconds: float = HANG_SECONDS) -> None:
        self.times = times or PhaseTimes()
        self.liveness = Liveness(self.times, hang_seconds)
        self.now = 1000.0
        self.beat_ns = 0
        self.phase = Phase.OPENING
        self.enter(Phase.OPENING)

    def enter(self, phase: Phase) -> None:
        """The trainer beats, in this phase."""
        self.phase = phase
        self.beat_ns += 1

    def look(self, seconds: float = 1.0) -> Health:
        self.now += seconds
        pulse = Pulse(attempt=1, step=7, beat_ns=self.beat_ns, phase=self.phase, order_seen=0, epoch=1)
        return self.liveness.look(pulse, self.now)

    def beat_every(self, seconds: int, times: int) -> None:
        for _ in range(times):
            for _ in range(seconds):
                self.look()
            self.enter(self.phase)
        self.look()

    def silent_until(self, health: Health, at_most: int = 10_000) -> float:
        """The seconds of silence after which a look finds this health."""
        return next(float(second) for second in range(1, at_most) if self.look() is health)


def stepping(hang_seconds: float = HANG_SECONDS) -> Watched:
    """One that has done quick steps for a while."""
    watched = Watched(hang_seconds=hang_seconds)
    watched.look()
    watched.enter(Phase.STEP)
    watched.beat_every(1, times=50)
    return watched


def test_a_trainer_that_beats_is_fine() -> None:
    watched = stepping()

    assert watched.look() is Health.FINE


def test_ten_seconds_of_silence_are_a_stall_where_steps_are_quick_and_hang_seconds_a_hang() -> None:
    watched = stepping()

    assert watched.silent_until(Health.STALLED) == 10
    assert watched.silent_until(Health.HUNG) == HANG_SECONDS - 10


def test_a_stalled_trainer_that_beats_again_is_fine() -> None:
    watched = stepping()
    watched.silent_until(Health.STALLED)

    watched.enter(Phase.STEP)

    assert watched.look() is Health.FINE


def test_steps_that_always_take_long_are_no_stall_and_no_hang() -> None:
    """It takes three times as long as 99 % of its steps."""
    watched = Watched()
    watched.look()
    watched.enter(Phase.STEP)
    watched.beat_every(200, times=5)

    assert watched.silent_until(Health.STALLED) == 299  # half of what is a hang, a second late
    assert watched.silent_until(Health.HUNG) in (298, 299, 300)


def test_each_phase_has_times_of_its_own() -> None:
    """Long validation batches do not excuse a silent step."""
    watched = stepping()
    watched.enter(Phase.VALIDATION)
    watched.beat_every(60, times=5)
    watched.enter(Phase.STEP)
    watched.look()

    assert watched.silent_until(Health.STALLED) == 10


def test_a_phase_that_nobody_has_completed_yet_may_take_six_times_as_long() -> None:
    watched = Watched()
    watched.look()

    assert watched.silent_until(Health.STALLED) == HANG_SECONDS
    assert watched.silent_until(Health.HUNG) == 5 * HANG_SECONDS


def test_the_next_attempt_knows_what_the_one_before_has_learnt() -> None:
    first = stepping()

    second = Watched(first.times)
    second.look()
    second.enter(Phase.STEP)
    second.look()

    assert second.silent_until(Health.STALLED) == 10


def test_the_opening_of_an_attempt_is_learnt_as_an_opening_when_it_is_over() -> None:
    watched = Watched()
    watched.beat_every(40, times=1)  # it enters no other phase: the beat itself ends the silence

    assert watched.times.usual_longest_seconds(Phase.OPENING) is not None
    assert watched.times.usual_longest_seconds(Phase.STEP) is None


def test_a_page_that_never_appears_is_a_hang_in_the_opening() -> None:
    liveness = Liveness(PhaseTimes(), HANG_SECONDS)

    healths = [liveness.look(None, float(second)) for second in range(1802)]

    assert healths.index(Health.HUNG) == 6 * HANG_SECONDS
    assert liveness.phase is Phase.OPENING


def test_while_the_machine_sleeps_or_the_host_is_stopped_no_silence_is_counted() -> None:
    watched = stepping()

    assert watched.look(seconds=86_400.0) is Health.FINE
    assert watched.liveness.silent_seconds <= 2


def test_with_a_short_hang_seconds_a_stall_is_seen_before_the_hang() -> None:
    watched = stepping(hang_seconds=4.0)

    assert watched.silent_until(Health.STALLED) == 2
    assert watched.silent_until(Health.HUNG) == 2
