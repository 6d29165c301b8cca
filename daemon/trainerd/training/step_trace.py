"""The trace that the steps of a run leave: recorded where they are new, compared where an attempt before did them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainerd.contracts.journal import Event, Journal
from trainerd.data.batches import BatchStream
from trainerd.training.replay import Before, Difference, Replay
from trainerd.training.step_record import StepRecord, steps_of
from trainerd.training.train_meter import DRAIN_SECONDS, Drained


class StepTrace:
    """Hears of steps, metric lines and epochs in their order; tells the journal what differs.

    Steps are recorded about once a second, in a fast run those of many epochs at once.
    """

    def __init__(
        self,
        record: StepRecord,
        before: Before,
        journal: Journal,
        training: BatchStream,
        accumulate: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._replay: Replay | None = Replay(before, self._report)
        self._journal = journal
        self._training = training
        self._accumulate = accumulate
        self._clock = clock
        self._batches_used = 0  # of the running epoch, by the steps heard of
        self._heard: list[tuple[int, int, Drained]] = []  # not recorded yet: (epoch, its first batch, steps)
        self._recorded_at = clock()
        self._committed_step = 0

    def resume(self, batches_used: int) -> None:
        """Go on inside an epoch."""
        self._batches_used = batches_used

    def take_steps(self, epoch: int, drained: Drained, committed_step: int | None) -> None:
        """The next steps of `epoch`. What a committed checkpoint has made unrepeatable is forgotten. Raises OSError."""
        self._committed_step = committed_step or 0
        if len(drained.losses):
            self._heard.append((epoch, self._batches_used, drained))
            self._batches_used = self._end_of(self._batches_used, drained)
        if self._replay or self._clock() - self._recorded_at >= DRAIN_SECONDS:
            self._record_heard()

    def take_lines(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Metric lines, before they are written."""
        if self._replay:
            for line in lines:
                self._replay.compare_line(line)

    def finish_epoch(self, fields: Mapping[str, Any]) -> None:
        """What the journal is told of an epoch that is finished."""
        self._batches_used = 0
        if self._replay:
            self._replay.compare_epoch(fields)
            self._end_replay_if_done(fields["step"])

    def end(self) -> None:
        """Record all, and say how truly the steps of earlier attempts were repeated, as far as they have been."""
        try:
            self._record_heard()
        finally:
            self._end_replay()

    def _record_heard(self) -> None:
        heard, self._heard = self._heard, []
        self._recorded_at = self._clock()
        if heard:
            numbers = np.concatenate([drained.steps for _, _, drained in heard])
            losses = np.concatenate([drained.losses for _, _, drained in heard])
            steps = steps_of(numbers, np.concatenate([self._hash(*each) for each in heard]), losses)
            if self._replay:
                self._replay.compare_steps(steps)
                self._end_replay_if_done(int(steps["step"][-1]))
            self._record.append(steps)
        self._record.cut(self._committed_step)

    def _hash(self, epoch: int, first: int, drained: Drained) -> NDArray[np.uint64]:
        """Of each step, the samples of its batches; the first one begins with batch `first` of the epoch."""
        return self._training.index_hashes(epoch, first, self._end_of(first, drained), self._accumulate)

    def _end_of(self, first: int, drained: Drained) -> int:
        """The batch behind those of these steps, the first of which began with batch `first` of its epoch."""
        return min(first + len(drained.losses) * self._accumulate, self._training.batches_per_epoch)

    def _end_replay_if_done(self, step: int) -> None:
        if self._replay and self._replay.is_done(step):
            self._end_replay()

    def _end_replay(self) -> None:
        replay, self._replay = self._replay, None
        if replay and replay.has_compared:
            fields = {"step": replay.reached, "steps": replay.steps_compared, "exactness": replay.exactness}
            self._journal.record(Event.REPLAYED, **fields)

    def _report(self, difference: Difference) -> None:
        self._journal.record(Event.REPLAY_DIFFERED, **vars(difference))
