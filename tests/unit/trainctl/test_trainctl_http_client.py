"""The HTTP client: answers of every framing, cut at any byte, and what is not an answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainctl.http_client import BrokenAnswerError, Response, encode_request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def received(data: bytes, cuts: list[int] | None = None) -> Callable[[], bytes]:
    """A recv(2) that hands out `data` cut at `cuts`, then end of file."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or [])})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    return lambda: pieces.pop(0) if pieces else b""


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(f"{len(chunk):X}".encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def test_a_request_says_what_it_carries_and_that_it_is_the_last() -> None:
    request = encode_request("POST", "/v1/runs", {"Idempotency-Key": "k"}, b"{}")

    head, _, body = request.partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"POST /v1/runs HTTP/1.1",
        b"Host: trainerd",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: 2",
        b"Idempotency-Key: k",
    ]
    assert body == b"{}"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.lists(st.integers(min_value=0), max_size=8))
def test_a_chunked_body_arrives_whole_wherever_it_is_cut(chunks: list[bytes], cuts: list[int]) -> None:
    response = Response(received(chunked(*chunks), cuts))

    assert response.status == 200
    assert response.headers["content-type"] == "text/plain"
    assert response.body() == b"".join(chunks)


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=8))
def test_a_body_of_known_length_arrives_whole_wherever_it_is_cut(body: bytes, cuts: list[int]) -> None:
    answer = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body

    assert Response(received(answer, cuts)).body() == body


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=8))
def test_a_body_without_length_goes_on_until_the_peer_closes(body: bytes, cuts: list[int]) -> None:
    assert Response(received(HEAD + b"\r\n" + body, cuts)).body() == body


@given(st.integers(min_value=1))
def test_an_answer_that_is_cut_off_is_never_taken_for_a_whole_one(cut: int) -> None:
    whole = chunked(b"one", b"two")

    with pytest.raises(BrokenAnswerError):
        Response(received(whole[: cut % len(whole)])).body()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        HEAD + b"Content-Length: many\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\ntoo long\r\n0\r\n\r\n",
        b"x" * 200_000,
    ],
)
def test_what_is_not_http_is_named_as_such(answer: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        Response(received(answer)).body()


def test_the_connection_is_closed_once_the_body_is_read() -> None:
    closed: list[bool] = []

    Response(received(HEAD + b"\r\n"), lambda: closed.append(True)).body()

    assert closed == [True]
