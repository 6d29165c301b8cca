"""The daemon as trainctl sees it: one method for each thing that its control socket offers.

Once the daemon has been reached, a request whose answer is lost is sent again until it gets through: the control plane
may be restarted at any moment, and every order carries a key under which it is carried out once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from trainctl.http_client import Response, exchange
from trainctl.problems import ReportedError
from trainctl.reach import connect, is_alive
from trainerd.contracts.errors import NoSuchRun, StateAway, TrainerdError, Unreachable
from trainerd.contracts.states import Verb

if TYPE_CHECKING:
    from trainctl.server_sent_events import ServerSentEvent

Json = dict[str, Any]
Answer = TypeVar("Answer")

RECONNECT_SECONDS = 60.0  # how long a daemon that has answered before may be away
FIRST_ANSWER_SECONDS = 5.0  # the same for one that has taken a connection, and may be no daemon at all
ANSWER_SECONDS = 15.0  # longer than the control plane waits for the supervisor
INSPECTION_SECONDS = 90.0  # longer than one inspection may take
START_SECONDS = 3.0  # how long one that lives may be without a control socket: its control plane is started again
_INSPECTED = (Verb.RESUME, Verb.RETRY)
_PAUSE_SECONDS = 0.1


class Daemon:
    """Gives orders and asks questions. Every method raises Unreachable, NotPermitted or ReportedError."""

    def __init__(
        self,
        sockets: Sequence[Path],
        reconnect_seconds: float = RECONNECT_SECONDS,
        first_answer_seconds: float = FIRST_ANSWER_SECONDS,
    ) -> None:
        self._sockets = sockets
        self._reconnect_seconds = reconnect_seconds
        self._first_answer_seconds = first_answer_seconds
        self._was_reached = False
        self._has_answered = False

    def status(self) -> Json:
        return self._get("/v1/status")

    def run(self, reference: str) -> Json:
        return self._get(_run(reference))

    def why(self, reference: str) -> Json:
        """How a run has come to be as it is: run, attempts, warnings, epochs, log, stacks, vitals, next."""
        return self._get(f"{_run(reference)}/why")

    def runs(self, **query: str | list[str] | None) -> list[Json]:
        """The runs that `query` (state, all, limit, before) asks for, newest first."""
        chosen = urlencode({name: value for name, value in query.items() if value}, doseq=True)
        found: list[Json] = self._get(f"/v1/runs?{chosen}")["runs"]
        return found

    def submit(self, runs: Sequence[Json], dry_run: bool = False) -> Json:
        """Check `runs`, queue them all or none. The answer holds `runs` and `warnings`, or the `command` to await."""
        body = {"runs": list(runs), "dry_run": dry_run}
        return self._post("/v1/runs", body, silence_seconds=INSPECTION_SECONDS * max(1, len(runs)))

    def order(self, verb: str, reference: str, **details: Any) -> Json:
        """Give an order about a run. The answer is the run, or holds the `command` to await."""
        silence_seconds = INSPECTION_SECONDS if verb in _INSPECTED else ANSWER_SECONDS
        return self._post(f"{_run(reference)}/{verb}", details, silence_seconds)

    def command(self, number: int) -> Json:
        """What became of an order: number, state (pending, applied, refused), problem."""
        return self._get(f"/v1/commands/{number}")

    def wait(self, reference: str, seconds: float, until: str = "settled") -> Json:
        """The run once it is what is waited `until`, or as it is after `seconds`."""
        target = f"{_run(reference)}/wait?timeout={seconds:.3f}&until={until}"
        return self._get(target, silence_seconds=seconds + ANSWER_SECONDS)

    def read(self, reference: str, file: str) -> Iterator[bytes]:
        """The bytes of a run's `events`, `metrics` or `log`, as far as it has them now."""
        response = self._persist(lambda: self._ask("GET", f"{_run(reference)}/{file}"))
        try:
            yield from response.blocks()
        except OSError as error:
            raise _lost(error) from error
        finally:
            response.close()

    def stream(self, reference: str, what: str) -> Iterator[ServerSentEvent]:
        """The server-sent events of `events`, `metrics`, `log` or `follow`, until the one that is called `end`.

        Goes on behind the last event where the connection is lost.
        """
        last_id: str | None = None
        while True:
            for event in self._stream_once(f"{_run(reference)}/{what}", last_id):
                last_id = event.id
                yield event
                if event.name == "end":
                    return
            time.sleep(_PAUSE_SECONDS)

    def _stream_once(self, target: str, last_id: str | None) -> Iterator[ServerSentEvent]:
        """What one connection brings, until it is lost."""
        from trainctl.server_sent_events import parse_events

        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        response = self._persist(lambda: self._ask("GET", target, headers, silence_seconds=None))
        try:
            yield from parse_events(response.blocks(), last_id)
        except ConnectionError:
            return
        finally:
            response.close()

    def _get(self, target: str, silence_seconds: float = ANSWER_SECONDS) -> Json:
        return self._persist(lambda: _document(self._ask("GET", target, silence_seconds=silence_seconds)))

    def _post(self, target: str, body: Json, silence_seconds: float = ANSWER_SECONDS) -> Json:
        headers = {"Idempotency-Key": os.urandom(16).hex()}
        encoded = json.dumps(body).encode()
        return self._persist(lambda: _document(self._ask("POST", target, headers, encoded, silence_seconds)))

    def _persist(self, attempt: Callable[[], Answer]) -> Answer:
        """What `attempt` brings, tried again while a daemon that has been reached before is away."""
        start = time.monotonic()
        while True:
            try:
                return attempt()
            except (ConnectionError, Unreachable) as error:
                if time.monotonic() - start > self._patience_seconds():
                    raise error if isinstance(error, Unreachable) else _lost(error) from error
            except OSError as error:
                raise _lost(error) from error
            time.sleep(_PAUSE_SECONDS)

    def _patience_seconds(self) -> float:
        """How long a daemon that does not answer is given."""
        if self._has_answered:
            return self._reconnect_seconds
        if self._was_reached:
            return self._first_answer_seconds
        return START_SECONDS if is_alive(self._sockets) else 0.0

    def _ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        body: bytes | None = None,
        silence_seconds: float | None = ANSWER_SECONDS,
    ) -> Response:
        """The answer, of status 2xx, to one request. `silence_seconds` is how long the daemon may say nothing."""
        connection = connect(self._sockets)
        self._was_reached = True
        connection.settimeout(silence_seconds)
        try:
            response = exchange(connection, method, target, headers, body)
            self._has_answered = True
            if response.status >= 300:
                raise _problem(response)
        except BaseException:
            connection.close()
            raise
        return response


def _run(reference: str) -> str:
    """Raises NoSuchRun for what would be another path: no run has such a name."""
    if not reference or "/" in reference:
        raise NoSuchRun(reference)
    return f"/v1/runs/{quote(reference, safe='')}"


def _document(response: Response) -> Json:
    """The JSON object that the answer holds."""
    text = response.body()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unreachable(f"the daemon answers {response.status} with what is not JSON: {text[:80]!r}")
    return document


def _problem(response: Response) -> TrainerdError:
    """What the daemon answers instead; StateAway where it asks to be asked again, as while its state is rebuilt."""
    reported = ReportedError(_document(response))
    return StateAway(str(reported)) if "retry-after" in response.headers else reported


def _lost(error: OSError) -> Unreachable:
    if isinstance(error, TimeoutError):
        return Unreachable("the daemon took the request and does not answer; look at it with: trainctl status")
    return Unreachable(f"the connection to the daemon was lost: {error}")
