"""HTTP/1.1 over a Unix socket, one connection a request: as much of RFC 9112 as the control plane speaks.

Pure of policy: it neither retries nor knows what an answer means. (http.client would cost 18 ms of every order.)
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping

_BLOCK_BYTES = 1 << 16
_LINE_LIMIT_BYTES = 1 << 16


class BrokenAnswerError(ConnectionError):
    """The peer closed the connection within its answer, or what it says is not HTTP."""


def exchange(
    connection: socket.socket, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
) -> Response:
    """Send one request and read the head of its answer. The answer owns the connection from here on.

    Raises BrokenAnswerError, and OSError as send(2) and recv(2) do.
    """
    connection.sendall(encode_request(method, target, headers, body))
    return Response(lambda: connection.recv(_BLOCK_BYTES), connection.close)


def encode_request(method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """The bytes of one request; `target` is already percent-encoded."""
    length = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {target} HTTP/1.1", "Host: trainerd", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {**length, **headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


class Response:
    """One answer: its status and headers at once, its body as it arrives. Header names are in lower case."""

    def __init__(self, receive: Callable[[], bytes], close: Callable[[], None] = lambda: None) -> None:
        self.close = close
        self._input = _Input(receive)
        self.status = _status(self._input.line())
        self.headers = dict(self._header_lines())

    def body(self) -> bytes:
        """The whole body; closes the connection."""
        try:
            return b"".join(self.blocks())
        finally:
            self.close()

    def blocks(self) -> Iterator[bytes]:
        """The body's bytes in pieces, as they come. Raises BrokenAnswerError where it ends before its end."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in self.headers:
            yield from self._input.pieces(_number(self.headers["content-length"].encode(), base=10))
        else:
            yield from self._input.rest()

    def _chunks(self) -> Iterator[bytes]:
        while size := _number(self._input.line().partition(b";")[0], base=16):
            yield from self._input.pieces(size)
            if self._input.line():
                raise BrokenAnswerError("a chunk of the answer is longer than it says")
        while self._input.line():  # trailers
            pass

    def _header_lines(self) -> Iterator[tuple[str, str]]:
        while line := self._input.line():
            name, _, value = line.decode("latin-1").partition(":")
            yield name.lower(), value.strip()


class _Input:
    """What has been received and not yet been read."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._held = b""

    def line(self) -> bytes:
        """The next line, without its line end."""
        while b"\n" not in self._held:
            if len(self._held) > _LINE_LIMIT_BYTES:
                raise BrokenAnswerError("a line of the answer's head does not end")
            self._held += self._more()
        line, _, self._held = self._held.partition(b"\n")
        return line.removesuffix(b"\r")

    def pieces(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes, as they come."""
        while count > 0:
            data = self._held or self._more()
            piece, self._held = data[:count], data[count:]
            count -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Everything until the peer closes."""
        data, self._held = self._held or self._receive(), b""
        while data:
            yield data
            data = self._receive()

    def _more(self) -> bytes:
        data = self._receive()
        if not data:
            raise BrokenAnswerError("the connection was closed within the answer")
        return data


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise BrokenAnswerError(f"what listens there does not speak HTTP: {line[:80]!r}")
    return _number(rest[:3], base=10)


def _number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise BrokenAnswerError(f"the answer holds {text[:80]!r} where a number belongs") from error
