"""Who is calling: the UID at the other end of the accepted socket, as the kernel knows it.

It travels beside the request in the connection's state, which no header can reach, and not as `client`, which proxy
headers may rewrite.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from trainerd.contracts.errors import UsageError, describe

_UCRED = struct.Struct("iII")  # pid, uid, gid: unix(7), SO_PEERCRED
_STATE_KEY = "peer"


@dataclass(frozen=True)
class Peer:
    """The process that connected, at the time when it did."""

    pid: int
    uid: int
    gid: int


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 over a Unix socket, which notes the peer once per connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # what a caller does not read is not made
        self.app_state = {**self.app_state, _STATE_KEY: read_peer(transport.get_extra_info("socket"))}

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem document, as every other error is answered."""
        problem = describe(UsageError(msg))
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        events: list[h11.Event] = [
            h11.Response(status_code=problem["status"], headers=headers, reason=STATUS_PHRASES[problem["status"]]),
            h11.Data(data=json.dumps(problem).encode()),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def read_peer(connected: socket.socket) -> Peer:
    """The peer of a connected Unix socket."""
    return Peer(*_UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def peer_of(scope: Scope) -> Peer | None:
    """The peer of a request; None if it did not come through PeerProtocol."""
    peer = scope.get("state", {}).get(_STATE_KEY)
    return peer if isinstance(peer, Peer) else None
