"""A control plane that says what a test tells it to: real HTTP on a real Unix socket, no daemon behind it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: Json | None


@dataclass
class Reply:
    """What a client gets. `blocks` are sent as chunks instead of a body of known length."""

    body: bytes | Json = b""
    status: int = 200
    blocks: list[bytes] | None = None
    breaks_off: bool = False  # close the connection within the answer
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeControlPlane:
    """`answer` maps "METHOD target" to the replies that it gets in turn; the last one stays."""

    socket: Path
    answers: dict[str, list[Reply]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def answer(self, request: str, *replies: Reply | Json) -> None:
        self.answers[request] = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]

    def reply_to(self, request: Request) -> Reply:
        self.requests.append(request)
        replies = self.answers.get(f"{request.method} {request.target}")
        if replies is None:
            return problem("no-such-run", 404, f"nobody expected {request.method} {request.target}", 3)
        return replies.pop(0) if len(replies) > 1 else replies[0]


def problem(slug: str, status: int, detail: str, exit_code: int, findings: list[Json] | None = None) -> Reply:
    document = {"type": f"urn:trainerd:problem:{slug}", "status": status, "detail": detail, "exit_code": exit_code}
    return Reply(document | ({"findings": findings} if findings else {}), status)


def message(event: str, data: Json | str, message_id: str | None = None) -> bytes:
    """One server-sent event."""
    identity = f"id: {message_id}\n" if message_id else ""
    return f"{identity}event: {event}\ndata: {json.dumps(data)}\n\n".encode()


@contextmanager
def fake_control_plane(socket: Path) -> Iterator[FakeControlPlane]:
    plane = FakeControlPlane(socket)
    with _Server(str(socket), _handler(plane.reply_to)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield plane
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _handler(reply_to: Callable[[Request], Reply]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(reply_to(Request("GET", self.path, dict(self.headers), None)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(reply_to(Request("POST", self.path, dict(self.headers), body)))

        def _send(self, reply: Reply) -> None:
            self.close_connection = True
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.blocks is None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_header("Content-Length", str(len(body) + (1 if reply.breaks_off else 0)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for block in reply.blocks:
                self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            if not reply.breaks_off:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    return Handler
