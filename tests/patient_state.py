"""The state as tests read it, that play the control plane's part beside a real supervisor."""

from __future__ import annotations

from typing import Any

from tests.polling import poll
from trainerd.contracts.errors import StateAway
from trainerd.store.state import StateReader


class PatientState(StateReader):
    """Waits while the state is being folded anew, as a client does that is told to ask again."""

    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return poll(lambda: self._look(statement, values), "the state is there")[0]

    def _look(self, statement: str, values: tuple[object, ...]) -> list[list[tuple[Any, ...]]]:
        try:
            return [super()._select(statement, *values)]
        except StateAway:
            return []
