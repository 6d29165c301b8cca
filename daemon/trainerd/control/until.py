"""What a caller may wait for: conditions of a run's record."""

from __future__ import annotations

from enum import StrEnum

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import SETTLED, State

_ON_THEIR_WAY = frozenset({State.PAUSING, State.STOPPING})


class Until(StrEnum):
    """settled: ended or paused. halted: no order is ending its trainer any more. checkpointed: every checkpoint that
    was ordered is committed, or will never be, because the run is settled.
    """

    SETTLED = "settled"
    HALTED = "halted"
    CHECKPOINTED = "checkpointed"

    def is_true_of(self, record: RunRecord) -> bool:
        match self:
            case Until.SETTLED:
                return record.state in SETTLED
            case Until.HALTED:
                return record.state not in _ON_THEIR_WAY
            case Until.CHECKPOINTED:
                return record.pending_checkpoint is None or record.state in SETTLED
