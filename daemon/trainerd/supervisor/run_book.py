"""The supervisor's working copy of the runs: all that have not ended, in memory, and what this tick has changed.

What is staged here is seen at once by the rest of the tick, and by everybody else after `commit`, all of it or nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, WAITING, State
from trainerd.store.state import StateWriter

_log = logging.getLogger(__name__)
_NOT_ENDED = [state for state in State if state not in ENDED]


class RunBook:
    """Records, answers and journal offsets, read from and written to the state."""

    def __init__(self, state: StateWriter) -> None:
        self._state = state
        self._committed = {record.id: record for record in reversed(state.runs(_NOT_ENDED))}
        self._offsets = {run_id: state.folded_bytes(run_id) for run_id in self._committed}
        self._applied_position = state.applied_position()
        self.discard()

    def discard(self) -> None:
        """Forget what is staged."""
        self._records: dict[int, RunRecord] = {}
        self._removed: set[int] = set()
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._staged_offsets: dict[int, int] = {}
        self._daemon: dict[str, Any] | None = None

    @property
    def applied_position(self) -> int:
        """The number of the newest command that is answered, as this tick sees it."""
        return max(self._answers, default=self._applied_position)

    def look_up(self, run_id: int) -> RunRecord | None:
        """The run as this tick sees it, also one that has ended."""
        if run_id in self._removed:
            return None
        return self._records.get(run_id) or self._committed.get(run_id) or self._state.run(run_id)

    def unended(self) -> dict[int, RunRecord]:
        """Every run that has not ended, as this tick sees it, by id."""
        records = {**self._committed, **self._records}
        return {
            run_id: record
            for run_id, record in records.items()
            if record.state not in ENDED and run_id not in self._removed
        }

    def waiting(self) -> list[RunRecord]:
        """Every run that is held or queued, as this tick sees it."""
        return [record for record in self.unended().values() if record.state in WAITING]

    def put(self, record: RunRecord) -> None:
        if record != self.look_up(record.id):
            self._records[record.id] = record

    def remove(self, run_id: int) -> None:
        """Forget a run that has ended, and never see it again."""
        self._records.pop(run_id, None)
        self._staged_offsets.pop(run_id, None)
        self._removed.add(run_id)

    def answer(self, number: int, problem: dict[str, Any] | None) -> None:
        self._answers[number] = problem

    def offset(self, run_id: int) -> int:
        """How much of the run's journal is folded."""
        for offsets in (self._staged_offsets, self._offsets):
            if run_id in offsets:
                return offsets[run_id]
        return self._state.folded_bytes(run_id)

    def set_offset(self, run_id: int, folded_bytes: int) -> None:
        self._staged_offsets[run_id] = folded_bytes

    def describe_daemon(self, *, supervisor_pid: int | None, worker_reachable: bool) -> None:
        self._daemon = {"supervisor_pid": supervisor_pid, "worker_reachable": worker_reachable}

    def commit(self) -> bool:
        """Store everything that is staged in one transaction; True if there was anything. Raises DiskError."""
        if not (self._records or self._removed or self._answers or self._staged_offsets or self._daemon):
            return False
        with self._state.transaction() as changes:
            for record in self._records.values():
                changes.put(record)
            for run_id in self._removed:
                changes.remove(run_id)
            for run_id, folded_bytes in self._staged_offsets.items():
                changes.set_offset(run_id, folded_bytes)
            for number, problem in self._answers.items():
                changes.answer(number, problem)
            if self._daemon:
                changes.describe_daemon(**self._daemon)
        self._take_over()
        return True

    def _take_over(self) -> None:
        """What was staged is now what the state holds."""
        for record in self._records.values():
            _log_change(self._committed.get(record.id), record)
        for run_id in sorted(self._removed):
            _log.info("run %d: removed", run_id)
        self._applied_position = self.applied_position
        self._committed = self.unended()
        self._offsets = {
            run_id: offset
            for run_id, offset in {**self._offsets, **self._staged_offsets}.items()
            if run_id in self._committed
        }
        self.discard()


def _log_change(before: RunRecord | None, record: RunRecord) -> None:
    if before is None or before.state is not record.state:
        was = before.state if before else "new"
        why = f" ({record.reason})" if record.reason else ""
        _log.info("run %d %s: %s -> %s%s", record.id, record.name, was, record.state, why)
