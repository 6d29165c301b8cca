"""Server-sent events as bytes (WHATWG HTML, "Server-sent events"): messages, and the ids by which a reader goes on.

The id of a message is where the reader stands in the run's files after it (byte offsets): the server
remembers nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from trainerd.contracts.errors import UsageError


class EventStream(StreamingResponse):
    """An answer of server-sent events."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        super().__init__(_taking_turns(messages), headers={"cache-control": "no-store"})


async def _taking_turns(messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The messages, each with a turn for everybody else behind it.

    To send to a reader who has left takes no time and waits for nothing: only another turn of the event loop ends that,
    and files may hold more than can be made in the time that a watchdog waits.
    """
    async for message in messages:
        yield message
        await asyncio.sleep(0)


def encode_message(event: str, data: bytes, message_id: str | None = None) -> bytes:
    """One message. `data` is one line of JSON."""
    identity = b"" if message_id is None else b"id: %s\n" % message_id.encode()
    return b"%sevent: %s\ndata: %s\n\n" % (identity, event.encode(), data)


def encode_end(run: dict[str, Any]) -> bytes:
    """The last message of a run's stream: nothing more will come, and this is what the run has come to."""
    return encode_message("end", json.dumps(run).encode())


def offsets_in(last_event_id: str | None, count: int) -> list[int]:
    """The `count` byte offsets that an id holds, zeros without one. Raises UsageError for an id not of ours."""
    if last_event_id is None:
        return [0] * count
    parts = last_event_id.split(".")
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise UsageError(f"Last-Event-ID {last_event_id!r} is not one of this stream")
    return [int(part) for part in parts]
