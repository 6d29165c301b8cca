"""Waiting for a change: no change is missed, and nobody waits when there is no point."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trainerd.contracts.unix_sockets import send_wake_up
from trainerd.control.changes import POLL_SECONDS, ChangedSocket, Changes, wait_for_event


def test_what_is_there_already_is_found_without_waiting() -> None:
    assert asyncio.run(Changes().wait_until(lambda: "found", seconds=0)) == "found"


def test_what_never_comes_is_none_after_the_time_given() -> None:
    assert asyncio.run(Changes().wait_until(lambda: None, seconds=0.02)) is None


def test_a_datagram_wakes_whoever_waits_long_before_the_next_poll(tmp_path: Path) -> None:
    async def wait_for_a_datagram() -> float:
        changes = Changes()
        changed = ChangedSocket(tmp_path / "changed.sock", changes)
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_soon(send_wake_up, tmp_path / "changed.sock")
        await wait_for_event(changes.upcoming(), seconds=10)
        changed.close()
        return loop.time() - began

    assert asyncio.run(wait_for_a_datagram()) < 5


def test_a_burst_of_datagrams_is_one_change(tmp_path: Path) -> None:
    async def count_announcements() -> int:
        changes, seen = Changes(), 0
        changed = ChangedSocket(tmp_path / "changed.sock", changes)
        for _ in range(5):
            send_wake_up(tmp_path / "changed.sock")
        while (upcoming := changes.upcoming()) and seen < 5:
            await wait_for_event(upcoming, seconds=0.1)
            if not upcoming.is_set():
                break
            seen += 1
        changed.close()
        return seen

    assert asyncio.run(count_announcements()) == 1


def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    async def change_in_between() -> bool:
        changes = Changes()
        upcoming = changes.upcoming()
        changes.announce()  # after the look that found nothing
        await wait_for_event(upcoming, seconds=0)
        return upcoming.is_set()

    assert asyncio.run(change_in_between())


def test_without_any_datagram_polling_finds_it() -> None:
    looks = iter([None, None, "found"])

    assert asyncio.run(Changes().wait_until(lambda: next(looks), seconds=20 * POLL_SECONDS)) == "found"


def test_shutdown_lets_everybody_go() -> None:
    async def close_meanwhile() -> str | None:
        changes = Changes()
        asyncio.get_running_loop().call_later(0.01, changes.close)
        return await changes.wait_until(lambda: None, seconds=60)

    assert asyncio.run(asyncio.wait_for(close_meanwhile(), timeout=10)) is None
