"""Whether a daemon accepts orders: the control plane answers, and the worker host is warm."""

from __future__ import annotations

from trainerd.contracts import unix_sockets
from trainerd.contracts.places import Home

_ANSWER_SECONDS = 1.0
_REQUEST = b"GET /v1/health HTTP/1.1\r\nHost: trainerd\r\nConnection: close\r\n\r\n"


def accepts_orders(home: Home) -> bool:
    """One look, without waiting for longer than a second."""
    return _control_plane_answers(home) and _worker_host_listens(home)


def _control_plane_answers(home: Home) -> bool:
    try:
        with unix_sockets.connect(home.control_socket, timeout_seconds=_ANSWER_SECONDS) as client:
            client.sendall(_REQUEST)
            return client.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _worker_host_listens(home: Home) -> bool:
    try:
        unix_sockets.connect(home.worker_socket, timeout_seconds=_ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
