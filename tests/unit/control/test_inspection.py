"""Asking for an inspector, over a real socket, of worker hosts that misbehave in every way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainerd.contracts import unix_sockets
from trainerd.contracts.errors import Unreachable
from trainerd.contracts.messages import Inspect, Inspected, Running, encode
from trainerd.control.inspection import Inspectors

QUESTION = Inspect(path="/data/run.yaml", text="name: x")
ANSWER = Inspected(spec={"name": "x"}, spec_yaml="name: x\n", findings=[], warnings=[])


def test_the_answer_of_the_inspector_is_passed_on_however_long_it_is(tmp_path: Path) -> None:
    long_answer = Inspected(spec={"name": "x" * 300_000}, spec_yaml="", findings=[], warnings=[])

    with _host(tmp_path, lambda asker: asker.sendall(encode(long_answer))) as path:
        assert asyncio.run(Inspectors(path).inspect(QUESTION)) == long_answer


@pytest.mark.parametrize("said", [b"", encode(ANSWER)[:-1]])
def test_an_inspector_that_ends_without_a_whole_line_has_died(tmp_path: Path, said: bytes) -> None:
    with _host(tmp_path, lambda asker: asker.sendall(said)) as path:
        answer = asyncio.run(Inspectors(path).inspect(QUESTION))

    assert answer.spec is None
    assert answer.findings[0]["file"] == QUESTION.path
    assert "60 s" in answer.findings[0]["message"]


def test_a_host_that_talks_of_something_else_is_as_good_as_none(tmp_path: Path) -> None:
    with (
        _host(tmp_path, lambda asker: asker.sendall(encode(Running([])))) as path,
        pytest.raises(Unreachable, match="running"),
    ):
        asyncio.run(Inspectors(path).inspect(QUESTION))


def test_a_host_that_died_during_the_check_is_not_the_fault_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "worker.sock"
    with _host(tmp_path, lambda _: path.unlink()), pytest.raises(Unreachable, match=r"worker\.sock"):
        asyncio.run(Inspectors(path).inspect(QUESTION))


def test_without_a_host_the_message_names_the_socket(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"worker\.sock"):
        asyncio.run(Inspectors(tmp_path / "worker.sock").inspect(QUESTION))


def test_no_more_inspectors_are_asked_for_at_once_than_there_are_places(tmp_path: Path) -> None:
    counting, alive, most = threading.Lock(), 0, 0
    both_there = threading.Barrier(2)

    def answer(asker: socket.socket) -> None:
        nonlocal alive, most
        with counting:
            alive += 1
            most = max(most, alive)
        both_there.wait(10)  # so that a limit above two would show
        with counting:
            alive -= 1
        asker.sendall(encode(ANSWER))

    async def ask_six() -> list[Inspected]:
        inspectors = Inspectors(path, at_once=2)
        return await asyncio.gather(*(inspectors.inspect(QUESTION) for _ in range(6)))

    with _host(tmp_path, answer) as path:
        assert asyncio.run(ask_six()) == [ANSWER] * 6
    assert most == 2


@contextmanager
def _host(directory: Path, answer: Callable[[socket.socket], None]) -> Iterator[Path]:
    """A worker host that reads one line from each caller, answers one who said something, and hangs up."""
    path = directory / "worker.sock"
    listener = unix_sockets.bind(path)
    listener.listen()

    def converse(asker: socket.socket) -> None:
        with asker:
            if asker.makefile("rb").readline():
                answer(asker)

    def accept() -> None:
        while True:
            try:
                asker, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(asker,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
