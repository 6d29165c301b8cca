"""How what should run and what does run are brought together. Pure.

The worker host says what lives; whatever differs is mended by order, not by remembering which message was lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, State

Attempt = tuple[int, int]  # (run, attempt)
# States in which a living trainer of a newer attempt is believed: the state was lost after it had started.
_MAY_HAVE_STARTED = frozenset({State.QUEUED, State.STARTING, State.RETRYING, State.INTERRUPTED})


@dataclass(frozen=True)
class Differences:
    """What has to be done so that the worker host runs what should run."""

    start: tuple[RunRecord, ...] = ()  # starting, and the host has not been told
    vanished: tuple[RunRecord, ...] = ()  # should live and does not; its journal, folded to the end, knows of no end
    adopt: tuple[Attempt, ...] = ()  # lives, and the record is behind
    kill: tuple[Attempt, ...] = ()  # lives and should not, or was told to start and should not any more


def compare(
    records: Mapping[int, RunRecord], living: Collection[Attempt], announced: Collection[Attempt]
) -> Differences:
    """Compare the records with what lives. `announced`: started on this connection, and not yet seen living.

    The caller has folded every journal after it heard what lives: a trainer's end is on disk before the host says so.
    """
    missing = [
        record for record in records.values() if record.state in LIVE and not _is_known(record, living, announced)
    ]
    surplus = [attempt for attempt in living if not _should_live(records.get(attempt[0]), attempt[1])]
    adopt = tuple(attempt for attempt in surplus if _is_behind(records.get(attempt[0]), attempt[1]))
    doomed = [
        (record.id, record.attempt)
        for record in records.values()
        if record.state in LIVE and record.kill_ordered and _is_known(record, living, announced)
    ]
    return Differences(
        start=_only(missing, starting=True),
        vanished=_only(missing, starting=False),
        adopt=adopt,
        kill=(*(attempt for attempt in surplus if attempt not in adopt), *doomed),
    )


def _is_known(record: RunRecord, living: Collection[Attempt], announced: Collection[Attempt]) -> bool:
    attempt = (record.id, record.attempt)
    return attempt in living or attempt in announced


def _should_live(record: RunRecord | None, attempt: int) -> bool:
    return record is not None and record.state in LIVE and record.attempt == attempt


def _is_behind(record: RunRecord | None, attempt: int) -> bool:
    return record is not None and record.attempt < attempt and record.state in _MAY_HAVE_STARTED


def _only(records: Iterable[RunRecord], *, starting: bool) -> tuple[RunRecord, ...]:
    return tuple(record for record in records if (record.state is State.STARTING) is starting)
