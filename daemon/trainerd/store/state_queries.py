"""The questions that state answers, the same for its writer and its readers.

Each is one statement, so it sees one moment, and each is led by an index: a hundred thousand ended runs cost nothing.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trainerd.contracts.commands import Answer
from trainerd.contracts.errors import Damaged, NoSuchRun
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ACTIVE, State

LATEST = "latest"
_NAMES_TO_COMPARE = 1000  # newest runs among whose names the nearest one is looked for
_EVERY = 1 << 62


@dataclass(frozen=True)
class DaemonRow:
    """What state holds about the daemon itself."""

    epoch: int  # raised by each supervisor that opens the state; fences off the one before
    applied_position: int  # number of the newest command that was applied or refused
    supervisor_pid: int | None
    worker_reachable: bool


class StateQueries(ABC):
    """Runs, answers and positions, as of the last commit."""

    _path: Path

    @abstractmethod
    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of one statement; none where there is no state yet."""

    def run(self, run_id: int) -> RunRecord | None:
        return next(iter(self._records("SELECT record FROM runs WHERE id = ?", run_id)), None)

    def runs(
        self, states: Collection[State] | None = None, limit: int | None = None, before: int | None = None
    ) -> list[RunRecord]:
        """Runs newest first: those in `states` (None: any), at most `limit`, with an id below `before`."""
        bound = (_EVERY if before is None else before, _EVERY if limit is None else limit)
        if states is None:
            return self._records("SELECT record FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?", *bound)
        if not states:
            return []
        one_state = "SELECT * FROM (SELECT id, record FROM runs WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?)"
        each = " UNION ALL ".join([one_state] * len(states))
        values = [value for state in states for value in (str(state), *bound)]
        return self._records(f"SELECT record FROM ({each}) ORDER BY id DESC LIMIT ?", *values, bound[1])

    def active(self) -> list[RunRecord]:
        """What a verb without an ID may mean, newest first."""
        return self.runs(ACTIVE)

    def queue(self) -> list[RunRecord]:
        """Queued runs in the order in which they will start."""
        return self._records("SELECT record FROM runs WHERE state = 'queued' ORDER BY priority DESC, place, id")

    def find(self, reference: str) -> RunRecord:
        """The run with this id, the newest run of this name, or the newest of all for `latest`.

        Raises NoSuchRun with the nearest name.
        """
        if reference.isascii() and reference.isdigit():
            found = self.run(int(reference)) if int(reference) < _EVERY else None
        elif reference == LATEST:
            found = next(iter(self.runs(limit=1)), None)
        else:
            named = "SELECT record FROM runs WHERE name = ? ORDER BY id DESC LIMIT 1"
            found = next(iter(self._records(named, reference)), None)
        if found is None:
            raise NoSuchRun(reference, self._nearest_name(reference))
        return found

    def answer(self, number: int) -> Answer | None:
        """What became of a command; None while it waits."""
        for (problem,) in self._select("SELECT problem FROM answers WHERE number = ?", number):
            with self._naming_damage():
                return Answer(number, None if problem is None else json.loads(problem))
        return None

    def applied_position(self) -> int:
        return self.daemon().applied_position

    def daemon(self) -> DaemonRow:
        columns = "epoch, applied_position, supervisor_pid, worker_reachable"
        for epoch, position, pid, reachable in self._select(f"SELECT {columns} FROM daemon"):
            return DaemonRow(epoch, position, pid, bool(reachable))
        return DaemonRow(0, 0, None, worker_reachable=False)

    def count_by_state(self) -> dict[State, int]:
        """How many runs there are in each state that some run is in."""
        rows = self._select("SELECT state, count(*) FROM runs GROUP BY state ORDER BY state")
        return {State(state): count for state, count in rows}

    def folded_bytes(self, run_id: int) -> int:
        """How much of a run's journal is folded into its record."""
        rows = self._select("SELECT folded_bytes FROM journals WHERE run = ?", run_id)
        return int(rows[0][0]) if rows else 0

    def _nearest_name(self, reference: str) -> str | None:
        rows = self._select("SELECT name FROM runs ORDER BY id DESC LIMIT ?", _NAMES_TO_COMPARE)
        matches = get_close_matches(reference, dict.fromkeys(name for (name,) in rows), n=1)
        return matches[0] if matches else None

    def _records(self, statement: str, *values: object) -> list[RunRecord]:
        rows = self._select(statement, *values)
        with self._naming_damage():
            return [self._decode(record) for (record,) in rows]

    def _decode(self, text: str) -> RunRecord:
        return RunRecord.from_json(text)

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        """What SQLite takes for text may still be no record of ours."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"it holds what cannot be read: {error!r}", str(self._path)) from error
