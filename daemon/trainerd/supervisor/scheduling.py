"""Which runs start now. Pure: the same records, resources and time give the same answer.

Runs that were going before (interrupted, retrying, blocked until now) come before the queue; then higher priority
first, then first come first served, strictly: nothing overtakes a run that waits for GPUs. A run that waits to be
retried keeps its slot; one that waits for room on its disk does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, WAITING, State
from trainerd.supervisor.gpus import gpus_needed
from trainerd.supervisor.retry import RetryPolicy, delay_seconds

_ENOUGH_BYTES = 16 << 20  # for a run that was blocked before it could tell what it needs
_ROUNDING_SECONDS = 1.0
_GOING_ON = frozenset({State.INTERRUPTED, State.RETRYING})


@dataclass(frozen=True)
class Resources:
    """What runs share."""

    slots: int  # how many runs train at the same time
    gpus: tuple[str, ...]  # UUIDs


@dataclass(frozen=True)
class Start:
    """A run that starts now, with GPUs of its own."""

    record: RunRecord
    gpus: tuple[str, ...]


def choose_starts(records: Iterable[RunRecord], resources: Resources, time: float, is_ready: Readiness) -> list[Start]:
    """The runs to start at `time` (time.time()), in order. `is_ready` says whether a run waits for nothing else."""
    known = list(records)
    live = [record for record in known if record.state in LIVE]
    taken = {uuid for record in live for uuid in record.gpus}
    free = [uuid for uuid in resources.gpus if uuid not in taken]
    slots = resources.slots - len(live)
    starts = []
    for record in _in_order(known, is_ready):
        needed = gpus_needed(record.spec, len(resources.gpus))
        if slots <= 0 or needed > len(free):
            break
        slots -= 1
        granted, free = tuple(free[:needed]), free[needed:]
        if _is_due(record, time):
            starts.append(Start(record, granted))
    return starts


def _is_due(record: RunRecord, time: float) -> bool:
    """Whether the run has waited for its retry: one whose clock was set back never waits longer than its backoff."""
    if record.retry_at is None:
        return True
    longest = delay_seconds(RetryPolicy(**record.spec["retry"]), max(2, record.failures)) or 0.0
    return not 0.0 < record.retry_at - time <= longest + _ROUNDING_SECONDS


def dependency_failed(record: RunRecord, look_up: Callable[[int], RunRecord | None]) -> bool:
    """Whether a waiting run waits for one that will not complete any more."""
    if not record.waits_for_another or record.state not in WAITING:
        return False
    awaited = _awaited(record, look_up)
    return awaited is None or (awaited.state in ENDED and awaited.state is not State.COMPLETED)


def has_room(record: RunRecord, free_bytes: int) -> bool:
    """Whether a blocked run finds enough room on its disk to go on."""
    return free_bytes >= (record.needed_bytes or _ENOUGH_BYTES)


def is_ready(record: RunRecord, look_up: Callable[[int], RunRecord | None]) -> bool:
    """Whether a run waits for no other, or the other has completed."""
    if not record.waits_for_another:
        return True
    awaited = _awaited(record, look_up)
    return awaited is not None and awaited.state is State.COMPLETED


def _awaited(record: RunRecord, look_up: Callable[[int], RunRecord | None]) -> RunRecord | None:
    return None if record.after is None else look_up(record.after)


Readiness = Callable[[RunRecord], bool]


def _in_order(records: list[RunRecord], is_ready: Readiness) -> list[RunRecord]:
    unblocked = [record for record in records if record.state is State.BLOCKED and is_ready(record)]
    going_on = [record for record in records if record.state in _GOING_ON] + unblocked
    queued = [record for record in records if record.state is State.QUEUED and is_ready(record)]
    return sorted(going_on, key=_rank) + sorted(queued, key=_rank)


def _rank(record: RunRecord) -> tuple[int, int, int]:
    return -record.priority, record.place, record.id
