"""Server-sent events: turns the bytes of a text/event-stream into events, wherever the bytes are cut.

After the WHATWG HTML standard, "Interpreting an event stream"; `retry:` and comments are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """One event. `id` is the last that the stream has named, here or before; None if it has named none."""

    name: str
    data: str
    id: str | None = None


def parse_events(blocks: Iterable[bytes], last_id: str | None = None) -> Iterator[ServerSentEvent]:
    """The events of a stream, each as soon as its empty line is there; a torn last one is dropped.

    `last_id` is the one at which this stream goes on from an earlier one.
    """
    name, data = "message", list[str]()
    for line in _lines(blocks):
        if not line:
            if data:
                yield ServerSentEvent(name, "\n".join(data), last_id)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """The whole lines, each ended by LF, CRLF or CR. A CR at the end of a block waits for a LF that may follow."""
    pending = b""
    for block in blocks:
        *lines, pending = (pending + block).splitlines(keepends=True) or [b""]
        if pending.endswith(b"\n"):
            lines, pending = [*lines, pending], b""
        yield from (line.decode("utf-8", "replace").rstrip("\r\n") for line in lines)
