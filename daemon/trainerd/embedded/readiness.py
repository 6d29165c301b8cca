"""Whether a daemon accepts orders: the control plane answers, and the worker host is warm; and which parts are up."""

from __future__ import annotations

import socket

from trainerd.contracts import unix_sockets
from trainerd.contracts.places import Home

_ANSWER_SECONDS = 1.0
_REQUEST = b"GET /v1/health HTTP/1.1\r\nHost: trainerd\r\nConnection: close\r\n\r\n"


def accepts_orders(home: Home) -> bool:
    """One look, without waiting for longer than a second."""
    return _control_plane_answers(home) and has_come_up(home, "worker")


def has_come_up(home: Home, part: str) -> bool:
    """Whether a part of the daemon listens. One look, without waiting for longer than a second."""
    sockets = {
        "supervisor": (home.wake_socket, socket.SOCK_DGRAM),
        "control": (home.control_socket, socket.SOCK_STREAM),
        "worker": (home.worker_socket, socket.SOCK_STREAM),
    }
    try:
        unix_sockets.connect(*sockets[part], timeout_seconds=_ANSWER_SECONDS).close()
    except BlockingIOError:  # there, with more callers than it has answered yet
        return True
    except OSError:
        return False
    return True


def _control_plane_answers(home: Home) -> bool:
    try:
        with unix_sockets.connect(home.control_socket, timeout_seconds=_ANSWER_SECONDS) as client:
            client.sendall(_REQUEST)
            return client.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
