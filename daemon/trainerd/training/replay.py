"""What earlier attempts did behind the checkpoint that a run goes on from, held against what comes again.

Three witnesses: the batch and the loss of every recorded step (steps.bin), the metric lines, and what the journal says
of each epoch. Nothing of it is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainerd.contracts.states import Exactness
from trainerd.training.exactness import compare_values, worst
from trainerd.training.step_record import Steps

Fields = Mapping[str, Any]

_NOT_REPEATED = frozenset({"time", "samples_per_second"})  # true of one attempt only
_OF_EPOCHS = ("train_loss", "val_loss", "metrics", "best", "epochs_since_best")


@dataclass(frozen=True)
class Difference:
    """A value that was not repeated."""

    step: int
    split: str
    key: str
    was: Any
    now: Any
    exactness: Exactness


@dataclass(frozen=True)
class Before:
    """What earlier attempts left of the steps behind the checkpoint."""

    steps: Steps
    lines: Mapping[tuple[str, int], Fields]  # of metrics.jsonl, by (split, step)
    epochs: Mapping[int, Fields]  # epoch lines of the journal, by step

    @property
    def last_step(self) -> int:
        """The last step that is going to be done again; 0 where there is none."""
        return max([*map(int, self.steps["step"][-1:]), *(step for _, step in self.lines), *self.epochs], default=0)


class Replay:
    """Compares what comes again; reports the first difference, and the first one that is worse than those before."""

    def __init__(self, before: Before, report: Callable[[Difference], None]) -> None:
        self.exactness = Exactness.EXACT
        self.steps_compared = 0
        self.has_compared = False  # anything at all
        self.reached = 0  # the last step of which something was compared
        self.last_step = before.last_step
        self._steps = before.steps
        self._lines = dict(before.lines)
        self._epochs = dict(before.epochs)
        self._report = report

    def is_done(self, step: int) -> bool:
        """Whether all that there was to repeat has been repeated, now that `step` is done."""
        is_open = bool(self._lines or self._epochs)
        return step > self.last_step or (step == self.last_step and not is_open)

    def compare_steps(self, steps: Steps) -> None:
        """Consecutive steps, batch and loss, with their records."""
        if not len(self._steps) or not len(steps):
            return
        places = np.searchsorted(self._steps["step"], steps["step"])
        at = np.minimum(places, len(self._steps) - 1)
        has_record = self._steps["step"][at] == steps["step"]
        before, again = self._steps[at[has_record]], steps[has_record]
        self.steps_compared += len(again)
        if len(again):
            self._note(int(again["step"][-1]))
        differs = before != again
        for was, now in zip(before[differs], again[differs], strict=True):
            self._compare(int(now["step"]), "train", "batch", f"{was['batch']:016x}", f"{now['batch']:016x}")
            self._compare(int(now["step"]), "train", "loss", was["loss"].item(), now["loss"].item())

    def compare_line(self, line: Fields) -> None:
        """A metric line with the one of the same split and step, as far as both have a value."""
        before = self._lines.pop((line["split"], line["step"]), {})
        for key in sorted((before.keys() & line.keys()) - _NOT_REPEATED):
            self._compare(line["step"], line["split"], key, before[key], line[key])

    def compare_epoch(self, epoch: Fields) -> None:
        """What an epoch's line in the journal says with what it said before."""
        before = self._epochs.pop(epoch["step"], {})
        for key in _OF_EPOCHS:
            if key in before and key in epoch:
                self._compare(epoch["step"], "epoch", key, before[key], epoch[key])

    def _note(self, step: int) -> None:
        self.has_compared, self.reached = True, max(step, self.reached)

    def _compare(self, step: int, split: str, key: str, was: Any, now: Any) -> None:
        self._note(step)
        label = compare_values(was, now)
        if worst([label, self.exactness]) != self.exactness:
            self.exactness = label
            self._report(Difference(step, split, key, was, now, label))
