"""Server-sent events as bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from trainerd.contracts.errors import UsageError
from trainerd.control.server_sent_events import EventStream, encode_end, encode_message, offsets_in


def test_a_message_is_its_id_its_name_and_one_line_of_data() -> None:
    assert encode_message("metrics", b'{"step": 1}', "12") == b'id: 12\nevent: metrics\ndata: {"step": 1}\n\n'


def test_the_last_message_has_no_id_because_nothing_comes_behind_it() -> None:
    assert encode_end({"state": "completed"}) == b'event: end\ndata: {"state": "completed"}\n\n'


def test_a_reader_without_an_id_begins_at_the_beginning() -> None:
    assert offsets_in(None, count=2) == [0, 0]


def test_an_id_is_as_many_offsets_as_the_stream_has_files() -> None:
    assert offsets_in("17", count=1) == [17]
    assert offsets_in("17.4", count=2) == [17, 4]


@pytest.mark.parametrize("last_event_id", ["", "x", "-1", "1.2", "1.", "٣", "9" * 40])
def test_an_id_of_another_kind_is_refused(last_event_id: str) -> None:
    with pytest.raises(UsageError, match="not one of this stream"):
        offsets_in(last_event_id, count=1)


def test_a_stream_whose_reader_has_left_lets_others_have_their_turn() -> None:
    """Sending to nobody waits for nothing, so a long file would keep the event loop to itself."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"message"

    async def read_until_others_have_had_a_turn() -> int:
        others = asyncio.ensure_future(asyncio.sleep(0))
        sent = 0
        async for _ in EventStream(endless()).body_iterator:
            sent += 1
            if others.done() or sent > 1000:
                break
        return sent

    assert asyncio.run(read_until_others_have_had_a_turn()) < 10
