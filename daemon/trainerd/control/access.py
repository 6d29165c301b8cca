"""Who may give orders: the owner of the daemon and root, from programs and never from web pages.

The outermost layer of the app. It looks at the peer and the headers before anything parses the request, and reads the
body, up to its limit, before any route runs.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from typing import ClassVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainerd.contracts.errors import NotPermitted, ProblemType, TrainerdError, UsageError
from trainerd.control.peer import peer_of
from trainerd.control.problems import problem_response

BODY_LIMIT_BYTES = 8 << 20
_ROOT = 0
_HOSTS = frozenset({"trainerd", "localhost"})
_BROWSER_HEADERS = ("origin", "referer")


@dataclass
class ForbiddenHeader(TrainerdError):
    """The request looks like one that a web page made (cross-site request forgery, DNS rebinding)."""

    message: str
    problem: ClassVar[ProblemType] = ProblemType.NOT_PERMITTED

    def __str__(self) -> str:
        return self.message


class Access:
    """Lets requests of the owner and of root through, whole; answers every other with a problem."""

    def __init__(self, app: ASGIApp, owner: int) -> None:
        self._app = app
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            check_peer(scope, self._owner)
            check_headers(Headers(scope=scope))
            body = await read_body(receive)
        except TrainerdError as refusal:
            await problem_response(refusal)(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)


def check_peer(scope: Scope, owner: int) -> None:
    """Raises NotPermitted, naming the owner, unless the peer is the owner or root."""
    peer = peer_of(scope)
    if peer is None or peer.uid not in (owner, _ROOT):
        raise NotPermitted(user_name(owner))


def check_headers(headers: Headers) -> None:
    """Raises ForbiddenHeader for what no client of ours sends, UsageError for a body that says it is too large."""
    for name in _BROWSER_HEADERS:
        if name in headers:
            raise ForbiddenHeader(
                f"requests with the header {name.capitalize()} are refused: no web page may give orders"
            )
    host = headers.get("host", "").partition(":")[0]
    if host not in _HOSTS:
        raise ForbiddenHeader(f"the header Host must be trainerd or localhost, not {host!r}")
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > BODY_LIMIT_BYTES:
        raise _too_large()


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises UsageError where it is beyond BODY_LIMIT_BYTES, or the caller left within it."""
    parts: list[bytes] = []
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UsageError("the caller left before the end of the request")
        parts.append(message.get("body", b""))
        size_bytes += len(parts[-1])
        if size_bytes > BODY_LIMIT_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    return b"".join(parts)


def user_name(uid: int) -> str:
    """The name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _too_large() -> UsageError:
    return UsageError(f"the request is larger than {BODY_LIMIT_BYTES} bytes")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, then goes on as before (it tells of a disconnect)."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
