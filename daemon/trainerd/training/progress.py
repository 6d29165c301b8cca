"""How far a run has come. Counting is defined in docs/architecture.md ("Counting")."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Progress:
    """The position of a run; changed by the training loop alone."""

    step: int = 0  # optimizer updates done
    epochs_finished: int = 0  # validation included
    batches_used: int = 0  # of the running epoch

    @property
    def epoch(self) -> int:
        """The running epoch, from 1."""
        return self.epochs_finished + 1

    @property
    def is_inside_epoch(self) -> bool:
        """Whether an epoch has begun and is not over; its validation belongs to it."""
        return self.batches_used > 0

    def advance(self, batches: int) -> None:
        self.step += 1
        self.batches_used += batches

    def finish_epoch(self) -> None:
        self.epochs_finished += 1
        self.batches_used = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)
