"""Server-sent events as bytes."""

from __future__ import annotations

import pytest

from trainerd.contracts.errors import UsageError
from trainerd.control.server_sent_events import encode_end, encode_message, offsets_in


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
