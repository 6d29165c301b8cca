"""Who called is what the kernel says, and nothing that a request holds."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from trainerd.contracts.errors import NotPermitted
from trainerd.control.access import check_peer, user_name
from trainerd.control.peer import Peer, peer_of, read_peer

OWNER, STRANGER = 1000, 1001


def test_the_peer_of_a_socket_is_the_process_that_made_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert read_peer(ours) == Peer(os.getpid(), os.getuid(), os.getgid())


@pytest.mark.parametrize("uid", [OWNER, 0])
def test_the_owner_and_root_are_let_through(uid: int) -> None:
    check_peer(_scope(Peer(1, uid, uid)), OWNER)


@pytest.mark.parametrize("peer", [Peer(1, STRANGER, OWNER), None, {"uid": 0}, "root"])
def test_everybody_else_is_refused_and_whoever_cannot_be_named_too(peer: object) -> None:
    with pytest.raises(NotPermitted, match=user_name(OWNER)):
        check_peer(_scope(peer), OWNER)


def test_headers_and_the_address_of_the_client_make_no_peer() -> None:
    headers = [(b"peer", b"0"), (b"x-forwarded-for", b"127.0.0.1"), (b"state", b"peer=0")]

    assert peer_of({"type": "http", "headers": headers, "client": ("127.0.0.1", 0)}) is None


def _scope(peer: object) -> dict[str, Any]:
    return {"type": "http", "headers": [], "state": {"peer": peer}}
