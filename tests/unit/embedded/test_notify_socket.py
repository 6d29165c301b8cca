"""What the parts of an embedded daemon say of themselves, through a real socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from trainerd.contracts.service_manager import ALIVE, SignsOfLife, ask_for_time, tell_service_manager
from trainerd.embedded.notify_socket import NotifySocket


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    notices = NotifySocket()
    monkeypatch.setenv("NOTIFY_SOCKET", notices.name)
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    yield notices
    notices.close()


def test_a_sign_of_life_names_the_process_that_gave_it(notices: NotifySocket) -> None:
    tell_service_manager(ALIVE)
    say_so = "from trainerd.contracts.service_manager import *; tell_service_manager(ALIVE)"
    other = subprocess.Popen([sys.executable, "-c", say_so])
    assert other.wait(timeout=60) == 0

    received = notices.receive()

    assert [notice.is_sign_of_life for notice in received] == [True, True]
    assert [notice.pid for notice in received] == [os.getpid(), other.pid]
    assert notices.receive() == []


def test_signs_of_life_are_given_as_often_as_is_waited_for_and_not_at_every_tick(notices: NotifySocket) -> None:
    signs = SignsOfLife()
    for _ in range(100):
        signs.show()

    assert len(notices.receive()) == 1


def test_an_end_that_makes_progress_may_ask_for_more_time(notices: NotifySocket) -> None:
    ask_for_time(2.5)

    [notice] = notices.receive()

    assert (notice.more_seconds, notice.is_sign_of_life) == (2.5, False)


def test_one_that_does_not_listen_holds_nobody_up(notices: NotifySocket) -> None:
    for _ in range(2000):  # far more than a socket keeps
        tell_service_manager(ALIVE)

    assert 0 < len(notices.receive()) < 2000


def test_where_nobody_listens_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    tell_service_manager(ALIVE)
