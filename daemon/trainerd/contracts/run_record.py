"""One run as the state holds it: the fold of its commands and its journal. The supervisor alone writes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainerd.contracts.states import Exactness, Reason, State


@dataclass(frozen=True)
class RunRecord:
    """Facts about one run. What is not true in its state is None."""

    id: int
    name: str
    state: State
    owner: int  # UID
    priority: int
    place: int  # within one priority the queue goes by this number, lowest first
    after: int | None  # the run that has to complete first
    created_at: str
    spec: dict[str, Any]
    reason: Reason | None = None
    error: str | None = None
    attempt: int = 0  # counts all starts; 0: never started
    settled_order: int = 0  # orders on the page up to this number are not for the current attempt
    pid: int | None = None  # of the living trainer, rank 0
    stalled: bool = False  # the trainer shows no sign of life, for longer than it usually takes
    gpus: tuple[str, ...] = ()
    started_at: str | None = None  # of the first attempt
    ended_at: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    step: int = 0  # as of the last folded event; views prefer the pulse page
    epoch: int = 0  # epochs finished, validation included
    steps_per_epoch: int | None = None
    monitor: dict[str, Any] | None = None  # name, mode, best, best_epoch, best_step, last
    model: dict[str, Any] | None = None  # path, step, epoch
    failures: int = 0  # consecutive, without a newer committed checkpoint
    retry_at: float | None = None  # time.time() from which a RETRYING run may start
    needed_bytes: int | None = None  # that the disk must have free before a BLOCKED run starts
    checkpoint_step: int | None = None  # newest committed
    killed_by_daemon: bool = False  # its trainer is killed because the daemon ends: that is no failure of the run
    kill_ordered: bool = False  # its trainer is to be killed: a person said so, or it was paused before it had begun
    pending_checkpoint: int | None = None  # number on the orders page of a checkpoint order that is not obeyed yet
    accepted_data: str | None = None  # fingerprint of changed data that a person has accepted
    exactness: Exactness | None = None  # of all resumes so far; None: never resumed

    @property
    def waits_for_another(self) -> bool:
        """Whether its start depends on run `after`. Once started it has waited enough: the other may be gone since."""
        return self.after is not None and self.attempt == 0

    @property
    def lacks_checkpoint(self) -> bool:
        """Whether it has trained, does so no more, and has nothing to go on from."""
        return self.attempt > 0 and self.checkpoint_step is None and self.state in (State.PAUSED, State.STOPPED)

    def to_json(self) -> str:
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        document = json.loads(text)
        document["state"] = State(document["state"])
        document["gpus"] = tuple(document.get("gpus", ()))
        if document.get("reason"):
            document["reason"] = Reason(document["reason"])
        if document.get("exactness"):
            document["exactness"] = Exactness(document["exactness"])
        return cls(**{"after": None, **document})

    def updated(self, **changes: Any) -> RunRecord:
        return replace(self, **changes)
