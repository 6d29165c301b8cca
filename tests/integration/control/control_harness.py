"""A real control plane in a process of its own, between a worker host and a supervisor that are as small as can be.

They speak contracts.messages and write the state through StateWriter, as the real ones do, but train nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.polling import poll
from trainerd.contracts import messages, unix_sockets
from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import Finding, NotAllowed, describe
from trainerd.contracts.pages import PulsePage, PulseWriter, create_pages
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import Reason, State, Verb, explain_refusal, next_state
from trainerd.store.command_log import CommandLogReader
from trainerd.store.state import StateChanges, StateWriter

SERVE = """
import sys
from pathlib import Path
from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.control.process import run_control
sys.exit(run_control(Home(Path(sys.argv[1]), Path(sys.argv[2])), Settings(), answer_seconds=float(sys.argv[3])))
"""


@dataclass
class Reply:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> tuple[int, str]:
        """(status, slug) of a problem document; fails where the answer is none."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        assert self.json()["status"] == self.status
        return self.status, self.json()["type"].removeprefix("urn:trainerd:problem:")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, as any client in the world may speak it."""

    def __init__(self, path: Path) -> None:
        super().__init__("trainerd", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = unix_sockets.connect(self._path, timeout_seconds=20)


@dataclass
class Client:
    """Asks the control socket at `path`."""

    path: Path

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        connection = UnixConnection(self.path)
        content = raw if raw is not None else (None if body is None else json.dumps(body))
        kind = {} if content is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, target, content, {**kind, **(headers or {})})
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Reply:
        return self.ask("GET", target, headers=headers)

    def post(self, target: str, body: Any = None, **headers: str) -> Reply:
        return self.ask("POST", target, body, headers)

    def submit(self, *texts: str, key: str | None = None, **fields: Any) -> Reply:
        """Submit configurations; `fields` go to each of them."""
        runs = [{"path": "/data/run.yaml", "text": text, **fields} for text in texts]
        return self.ask("POST", "/v1/runs", {"runs": runs}, {"Idempotency-Key": key} if key else {})

    @contextmanager
    def stream(self, target: str, last_event_id: str | None = None) -> Iterator[Iterator[dict[str, str]]]:
        """The server-sent events of `target`, as they come: dictionaries of event, data and id."""
        connection = UnixConnection(self.path)
        resume = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        try:
            connection.request("GET", target, headers={"Accept": "text/event-stream", **resume})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield parse_events(response)
        finally:
            connection.close()


def parse_events(response: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    while line := response.readline():
        if line == b"\n":
            yield event
            event = {}
        else:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            event[name] = value


@dataclass
class ControlProcess:
    """`run_control` in a process of its own."""

    home: Home
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Client:
        return Client(self.home.control_socket)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@contextmanager
def control_process(
    home: Home, answer_seconds: float = 5.0, prepare: Callable[[], None] | None = None
) -> Iterator[ControlProcess]:
    """A control plane that serves `home`; `prepare` runs in the child before it starts."""
    arguments = [sys.executable, "-c", SERVE, str(home.path), str(home.control_socket), str(answer_seconds)]
    control = ControlProcess(home, subprocess.Popen(arguments, preexec_fn=prepare))
    try:
        poll(lambda: answers(home.control_socket) or control.process.poll() is not None, "the control socket answers")
        yield control
    finally:
        if control.process.poll() is None:
            control.end(signal.SIGKILL)  # as good as SIGTERM: nothing is left to lose


def answers(path: Path) -> bool:
    try:
        unix_sockets.connect(path).close()
    except OSError:
        return False
    return True


class SmallWorkerHost(threading.Thread):
    """Checks as the text tells it to: `die`, `linger`, `refuse WHY`, `warn WHY`, `pad BYTES`, or the name of a run.

    `linger` is answered once `patience` is over; it is the name of a run, too.
    """

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self.asked: list[messages.Inspect] = []
        self.patience = threading.Event()
        self._listener = unix_sockets.bind(home.worker_socket)
        self._listener.listen()
        self.start()

    def run(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(accepted,), daemon=True).start()

    def _converse(self, accepted: socket.socket) -> None:
        with accepted:
            connection = messages.Connection(accepted)
            question = connection.receive()
            if isinstance(question, messages.Inspect):
                self.asked.append(question)
                if question.text == "linger" or "linger=1" in question.overrides:
                    self.patience.wait(20)
                if question.text != "die":
                    connection.send(_inspected(question))

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(5)


def _inspected(question: messages.Inspect) -> messages.Inspected:
    return _inspected_again(question) if question.run_dir else _inspected_anew(question)


def _inspected_again(question: messages.Inspect) -> messages.Inspected:
    """Of a run that goes on: every override is one change; `refused=...` is not to be had."""
    spec = json.loads(question.text)
    given = dict(override.split("=", 1) for override in question.overrides)
    changes = [
        {"key": key, "was": None, "now": now, "verdict": "refused" if key == "refused" else "applied", "why": None}
        for key, now in given.items()
    ]
    findings = [Finding("cannot be changed", key=key).to_json() for key in given if key == "refused"]
    if findings:
        return messages.Inspected(None, None, findings, [], changes)
    changed = spec | given
    accepted = "newer data" if question.accept_changed_data else None
    return messages.Inspected(changed, json.dumps(changed), [], [], changes, accepted)


def _inspected_anew(question: messages.Inspect) -> messages.Inspected:
    text = json.loads(question.text)["name"] if question.text.startswith("{") else question.text
    word, _, rest = text.partition(" ")
    if word == "refuse":
        finding = Finding(rest, file=question.path, line=3).to_json()
        return messages.Inspected(spec=None, spec_yaml=None, findings=[finding], warnings=[])
    named = [override.removeprefix("name=") for override in question.overrides if override.startswith("name=")]
    spec: dict[str, Any] = {
        "name": json.loads(named[-1]) if named else word,
        "trainer": {"max_epochs": 7},
        "source": question.path,
    }
    spec["padding"] = "x" * int(rest) if word == "pad" else ""
    warnings = [Finding(rest).to_json()] if word == "warn" else []
    return messages.Inspected(spec=spec, spec_yaml=json.dumps(spec), findings=[], warnings=warnings)


@dataclass
class SmallSupervisor:
    """Applies what the command log says, on a thread of its own, and lets the test move runs on."""

    home: Home
    _writer: StateWriter = field(init=False)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._writer = StateWriter(self.home.state)
        self._log = CommandLogReader(self.home.command_log)
        self._wake = unix_sockets.bind(self.home.wake_socket, socket.SOCK_DGRAM)
        self._wake.settimeout(0.02)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def record(self, run_id: int) -> RunRecord:
        record = self._writer.run(run_id)
        assert record is not None
        return record

    def applied_position(self) -> int:
        return self._writer.applied_position()

    def move(self, run_id: int, *, silently: bool = False, **changes: Any) -> None:
        """Store a changed record; `silently` loses the datagram that would tell of it."""
        with self._changing, self._writer.transaction() as state:
            state.put(self.record(run_id).updated(**changes))
        if not silently:
            unix_sockets.send_wake_up(self.home.changed_socket)

    def start_run(self, run_id: int) -> PulseWriter:
        """Let the run live: its record says so, and its pulse page is there."""
        directory = self.directory(run_id)
        create_pages(directory.orders_page, directory.pulse_page)
        pulse = PulseWriter(PulsePage(directory.pulse_page, writable=True), attempt=1)
        self.move(run_id, state=State.RUNNING, attempt=1, pid=4242)
        return pulse

    def directory(self, run_id: int) -> RunDirectory:
        return RunDirectory(self.home.run(run_id))

    def end(self) -> None:
        self._ending.set()
        self._thread.join(5)
        self._wake.close()
        self.home.wake_socket.unlink()
        self._log.close()
        self._writer.close()

    def _loop(self) -> None:
        while not self._ending.is_set():
            for command in self._log.after(self._writer.applied_position()):
                with self._changing:
                    self._apply(command)
                unix_sockets.send_wake_up(self.home.changed_socket)
            try:
                self._wake.recv(64)
            except TimeoutError:
                continue

    def _apply(self, command: Command) -> None:
        with self._writer.transaction() as state:
            if command.kind is CommandKind.SUBMIT:
                for run in command.body["runs"]:
                    os.makedirs(self.home.run(run["id"]), exist_ok=True)
                    self.directory(run["id"]).spec.write_text(run["spec_yaml"])
                    state.put(new_record(run, command.time))
                state.answer(command.number, None)
                return
            self._apply_order(state, command)

    def _apply_order(self, state: StateChanges, command: Command) -> None:
        record, verb = self.record(command.body["run"]), Verb(command.kind)
        moved = next_state(verb, record.state)
        if moved is None:
            refusal = NotAllowed(explain_refusal(verb, str(record.id), record.state))
            state.answer(command.number, describe(refusal))
            return
        reason = Reason.CANCELLED if moved is State.CANCELLED else None
        pending = command.number << 20 if verb is Verb.CHECKPOINT else record.pending_checkpoint
        spec = command.body.get("spec") or record.spec
        state.put(record.updated(state=moved, reason=reason, pending_checkpoint=pending, spec=spec))
        if verb is Verb.REMOVE:
            state.remove(record.id)
        state.answer(command.number, None)


def new_record(run: dict[str, Any], time: str) -> RunRecord:
    return RunRecord(
        id=run["id"],
        name=run["name"],
        state=State.HELD if run["hold"] else State.QUEUED,
        owner=run["owner"],
        priority=run["priority"],
        place=run["id"],
        after=run["after"],
        created_at=time,
        spec=run["spec"],
    )


@dataclass
class Daemon:
    """All three together."""

    control: ControlProcess
    worker: SmallWorkerHost
    supervisor: SmallSupervisor

    @property
    def home(self) -> Home:
        return self.control.home

    @property
    def client(self) -> Client:
        return self.control.client

    def submitted(self, text: str = "tiny", **fields: Any) -> int:
        """The id of a new queued run."""
        reply = self.client.submit(text, **fields)
        assert reply.status == 201, reply.body
        run_id: int = reply.json()["runs"][0]["id"]
        return run_id

    def last_command(self) -> Command:
        """The newest that has been acknowledged."""
        reader = CommandLogReader(self.home.command_log)
        try:
            command = reader.get(reader.newest_number())
        finally:
            reader.close()
        assert command is not None
        return command


@contextmanager
def small_daemon(home: Home, prepare: Callable[[], None] | None = None) -> Iterator[Daemon]:
    with control_process(home, prepare=prepare) as control:
        worker, supervisor = SmallWorkerHost(home), SmallSupervisor(home)
        try:
            yield Daemon(control, worker, supervisor)
        finally:
            supervisor.end()
            worker.end()
