"""Asking the worker host for inspectors: one connection, one configuration, one answer.

The control plane itself never parses a configuration nor opens data; an inspector that dies takes nobody with it.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from trainerd.contracts import messages, unix_sockets
from trainerd.contracts.errors import Finding, Unreachable

_ANSWER_LIMIT_BYTES = 64 << 20
_CONNECT_SECONDS = 1.0
_GRACE_SECONDS = 10.0  # the worker host enforces the limit; this is for a host that does not


class Inspectors:
    """The inspectors that the worker host at `socket_path` starts, at most `at_once` at a time."""

    def __init__(self, socket_path: Path, at_once: int = 4) -> None:
        self._socket_path = socket_path
        self._places = asyncio.Semaphore(at_once)

    async def inspect(self, question: messages.Inspect) -> messages.Inspected:
        """The inspector's answer; a finding that says so if it died. Raises Unreachable without a worker host."""
        async with self._places:
            try:
                async with asyncio.timeout(question.limit_seconds + _GRACE_SECONDS):
                    line = await self._ask(question)
                    if not line.endswith(b"\n"):
                        self._connect().close()  # the host has outlived its inspector; else Unreachable
            except TimeoutError as error:
                raise Unreachable(f"the worker host has not answered within {question.limit_seconds:g} s") from error
        return _answer_on(line, question)

    async def _ask(self, question: messages.Inspect) -> bytes:
        """The line that comes back; without its newline, or empty, if the inspector died."""
        reader, writer = await asyncio.open_unix_connection(sock=self._connect(), limit=_ANSWER_LIMIT_BYTES)
        try:
            writer.write(messages.encode(question))
            return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    def _connect(self) -> socket.socket:
        try:
            return unix_sockets.connect(self._socket_path, timeout_seconds=_CONNECT_SECONDS)
        except OSError as error:
            raise Unreachable(f"the worker host does not answer on {self._socket_path}: {error.strerror}") from error


def _answer_on(line: bytes, question: messages.Inspect) -> messages.Inspected:
    if not line.endswith(b"\n"):
        died = Finding(
            f"the check died, or took more than its limit of {question.limit_seconds:g} s or of memory",
            file=question.path,
        )
        return messages.Inspected(spec=None, spec_yaml=None, findings=[died.to_json()], warnings=[])
    answer = messages.decode(line)
    if not isinstance(answer, messages.Inspected):
        raise Unreachable(f"the worker host answered {answer.type!r} instead of checking {question.path}")
    return answer
