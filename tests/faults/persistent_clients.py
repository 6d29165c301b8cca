"""Clients that submit and order without a pause, and repeat whatever got no answer under the same Idempotency-Key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from raw_client import Json, RawClient, Reply

from tests.polling import poll

_ASK_AGAIN = (503,)  # the daemon says so itself: away, or not warm yet


@dataclass(frozen=True)
class Submitted:
    """A held run as its client knows it: the answers to its submit and to the orders about it."""

    name: str
    run: int
    priority: int
    is_cancelled: bool


class PersistentClient:
    """One client in a thread of its own: submits a held run, moves it, and cancels every other one; over and over."""

    def __init__(self, home: Path, name: str, configuration: Path) -> None:
        self.done: list[Submitted] = []
        self.unanswered = 0  # requests that a client had to repeat
        self.wrong: list[str] = []  # what is neither an answer nor a clean error
        self._client = RawClient(home)
        self._name = name
        self._configuration = configuration
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._is_over.is_set():
                self._live_through_one(len(self.done))
        except Exception as error:
            self.wrong.append(f"{self._name}: {error!r}")

    def _live_through_one(self, number: int) -> None:
        name, priority, is_cancelled = f"{self._name}-{number}", number % 7 - 3, number % 2 == 1
        run = self._submit(name)
        self._order(run, "move", {"priority": priority}, name)
        if is_cancelled:
            self._order(run, "cancel", {}, name)
        self._expect(self._submit(name) == run, f"{name} was submitted twice: {run}")
        self.done.append(Submitted(name, run, priority, is_cancelled))

    def _submit(self, name: str) -> int:
        """The run's number. The second time it is the same request."""
        wishes = {"name": name, "hold": True}
        reply = self._persist(lambda: self._client.submit(self._configuration, wishes, key=name))
        [run] = reply.document["runs"]
        self._expect(run["name"] == name, f"{name} is answered with {run}")
        return int(run["id"])

    def _order(self, run: int, verb: str, details: Json, name: str) -> None:
        target = f"/v1/runs/{run}/{verb}"
        reply = self._persist(lambda: self._client.post(target, details, key=f"{name} {verb}"))
        self._expect(reply.document["id"] == run, f"{verb} of {run} is answered with {reply.document}")

    def _persist(self, ask: Callable[[], Reply]) -> Reply:
        """The first answer of success. What comes before it must be a clean error."""
        reply = poll(lambda: self._try(ask), f"{self._name} gets an answer", seconds=60)
        assert reply is not None
        return reply

    def _try(self, ask: Callable[[], Reply]) -> Reply | None:
        try:
            reply = ask()
        except TimeoutError:
            raise
        except OSError:  # nobody there, or gone within the answer
            self.unanswered += 1
            return None
        if reply.status in _ASK_AGAIN:
            self.unanswered += 1
            return None
        assert reply.status in (200, 201, 202), reply
        return reply

    def _expect(self, is_right: bool, what: str) -> None:
        self.wrong += [] if is_right else [what]
