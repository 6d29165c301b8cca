"""Server-sent events: the same events wherever the bytes are cut and however the lines end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainctl.server_sent_events import ServerSentEvent, parse_events

STREAM = ": hello\n\nid: 12\nevent: log\ndata: first\ndata:  läuft\n\nretry: 5\ndata: {}\n\nevent: end\ndata: bye\n\n"
EVENTS = [
    ServerSentEvent("log", "first\n läuft", "12"),
    ServerSentEvent("message", "{}", "12"),
    ServerSentEvent("end", "bye", "12"),
]


@given(st.lists(st.integers(min_value=0), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]))
def test_the_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int], line_end: str) -> None:
    data = STREAM.replace("\n", line_end).encode() + b"x"  # a lone CR counts once it is known not to be half a CRLF
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    blocks = [data[start:end] for start, end in itertools.pairwise(edges)]

    assert list(parse_events(blocks)) == EVENTS


def test_an_event_comes_as_soon_as_its_empty_line_is_there() -> None:
    """The stream goes on for hours: nothing may wait for the bytes behind it."""

    def blocks():  # type: ignore[no-untyped-def]
        yield b"data: now\n\n"
        pytest.fail("asked for more before handing out what was there")

    assert next(parse_events(blocks())).data == "now"


def test_a_torn_event_at_the_end_is_dropped() -> None:
    assert list(parse_events([b"data: whole\n\ndata: to"])) == [ServerSentEvent("message", "whole")]


def test_a_stream_that_goes_on_keeps_the_id_it_went_on_from() -> None:
    assert next(parse_events([b"data: x\n\n"], "41.7")).id == "41.7"
