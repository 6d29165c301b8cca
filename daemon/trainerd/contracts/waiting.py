"""What a caller may wait for: the one rule, for the control plane and its clients."""

from __future__ import annotations

from enum import StrEnum

from trainerd.contracts.states import SETTLED, State

_ON_THEIR_WAY = frozenset({State.PAUSING, State.STOPPING})
_WITHOUT_TRAINER = SETTLED | {State.HELD}  # and no other comes unless somebody orders it


class Until(StrEnum):
    """settled: ended or paused. halted: no order is ending its trainer any more. checkpointed: every checkpoint that
    was ordered is committed, or none will be unless somebody has the run go on.
    """

    SETTLED = "settled"
    HALTED = "halted"
    CHECKPOINTED = "checkpointed"

    def is_true_of(self, state: State, pending_checkpoint: int | None) -> bool:
        match self:
            case Until.SETTLED:
                return state in SETTLED
            case Until.HALTED:
                return state not in _ON_THEIR_WAY
            case Until.CHECKPOINTED:
                return pending_checkpoint is None or state in _WITHOUT_TRAINER
