"""The two pages: the only channel into and out of a training loop.

`orders.page` is written by the supervisor and read by the trainer once per step; `pulse.page` is written by the trainer
once per step and read by whoever wants to know. Both are 4 KiB, memory-mapped, and made of independent native 64-bit
words that only ever grow (the phase excepted): there is no invariant across two words, so no lock is needed. They
outlive every process that maps them.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

PAGE_BYTES = 4096
_WORDS = PAGE_BYTES // 8
_LAYOUT = 1
_LAYOUT_WORD = _LAYOUT.to_bytes(8, "little")


class Order(IntEnum):
    """The word of orders.page that holds the number of the newest order of this kind (0: none yet)."""

    CHECKPOINT = 1
    STOP = 2
    STOP_WITHOUT_CHECKPOINT = 3
    PAUSE = 4
    INTERRUPT = 5


ENDING_ORDERS = (Order.STOP_WITHOUT_CHECKPOINT, Order.STOP, Order.PAUSE, Order.INTERRUPT)


class OrdersPage:
    """What is asked of a trainer. Numbers go by the commands behind them (supervisor/orders.py), so they only grow."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._words = _map_page(path, writable=writable)

    def give(self, order: Order, number: int) -> None:
        """Ask for `order`; giving the same number again changes nothing."""
        self._words[order] = max(number, self._words[order])

    def newest(self) -> int:
        """The highest number of any order so far: what a trainer that starts now counts as settled."""
        return max(self._words[order] for order in Order)

    def number(self, order: Order) -> int:
        """The number of the newest order of this kind; 0 if there was none."""
        return self._words[order]

    def window(self) -> memoryview:
        """The raw words of all orders, for a loop that compares them with what it saw last (one slice, no parsing)."""
        return self._words[Order.CHECKPOINT : Order.INTERRUPT + 1]


class Phase(IntEnum):
    """What a trainer is doing."""

    NONE = 0
    OPENING = 1
    STEP = 2
    VALIDATION = 3
    CHECKPOINT = 4  # waiting until one is on the disk
    ENDING = 5
    COMPILING = 6  # the first step of an attempt: kernels are chosen, or compiled


@dataclass(frozen=True)
class Pulse:
    """One reading of a rank's slot."""

    attempt: int
    step: int
    beat_ns: int  # CLOCK_MONOTONIC of the last beat, nanoseconds
    phase: Phase
    order_seen: int
    epoch: int

    @property
    def age_seconds(self) -> float:
        return (time.monotonic_ns() - self.beat_ns) / 1e9


_SLOT_WORDS = 8
_ATTEMPT, _STEP, _BEAT, _PHASE, _ORDER_SEEN, _EPOCH = range(6)


class PulsePage:
    """What a trainer shows of itself: a slot of eight words per rank, 63 ranks at most, behind a header slot."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._words = _map_page(path, writable=writable)

    def read(self, rank: int = 0) -> Pulse:
        slot = self.slot(rank)
        return Pulse(
            attempt=slot[_ATTEMPT],
            step=slot[_STEP],
            beat_ns=slot[_BEAT],
            phase=Phase(slot[_PHASE]) if slot[_PHASE] in Phase._value2member_map_ else Phase.NONE,
            order_seen=slot[_ORDER_SEEN],
            epoch=slot[_EPOCH],
        )

    def slot(self, rank: int = 0) -> memoryview:
        start = (rank + 1) * _SLOT_WORDS
        return self._words[start : start + _SLOT_WORDS]


def read_pulse(path: Path, attempt: int) -> Pulse | None:
    """What the trainer of this attempt shows on its pulse page; None where it has shown nothing yet."""
    try:
        pulse = PulsePage(path).read()
    except (OSError, ValueError):  # not there yet, or in the making
        return None
    return pulse if pulse.attempt == attempt and pulse.beat_ns else None


def step_shown(path: Path, attempt: int) -> int:
    """The last step that the trainer of this attempt has shown on its pulse page; 0 where it has shown none."""
    pulse = read_pulse(path, attempt)
    return pulse.step if pulse else 0


class PulseWriter:
    """The trainer's side of its slot; `beat` is called once per step and costs about 150 ns."""

    def __init__(self, page: PulsePage, attempt: int, rank: int = 0) -> None:
        self._slot = page.slot(rank)
        self._slot[_ATTEMPT] = attempt
        self.enter(Phase.OPENING)

    def beat(self, step: int) -> None:
        self._slot[_STEP] = step
        self._slot[_BEAT] = time.monotonic_ns()

    def enter(self, phase: Phase) -> None:
        self._slot[_PHASE] = phase
        self._slot[_BEAT] = time.monotonic_ns()

    def show_life(self) -> None:
        """Beat without a step, within something that takes long."""
        self._slot[_BEAT] = time.monotonic_ns()

    def show_progress(self) -> None:
        """Beat from another thread, where the loop waits for a checkpoint: in any other phase the loop has to."""
        if self._slot[_PHASE] == Phase.CHECKPOINT:
            self.show_life()

    def set_epoch(self, epoch: int) -> None:
        self._slot[_EPOCH] = epoch

    def acknowledge(self, order_number: int) -> None:
        """Show that an order has been obeyed; an older number changes nothing."""
        self._slot[_ORDER_SEEN] = max(order_number, self._slot[_ORDER_SEEN])


def create_pages(orders: Path, pulse: Path) -> None:
    """Make both pages where they are missing, or were left unfinished; existing ones keep what they hold."""
    for path in (orders, pulse):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(fd).st_size < PAGE_BYTES or os.pread(fd, 8, 0) != _LAYOUT_WORD:
                os.pwrite(fd, _LAYOUT_WORD.ljust(PAGE_BYTES, b"\0"), 0)
                os.fsync(fd)
        finally:
            os.close(fd)


def _map_page(path: Path, *, writable: bool) -> memoryview:
    fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size < PAGE_BYTES:
            raise ValueError(f"{path}: shorter than {PAGE_BYTES} bytes: not a page of trainerd")
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        words = memoryview(mmap.mmap(fd, PAGE_BYTES, access=access)).cast("Q")
    finally:
        os.close(fd)
    if words[0] != _LAYOUT:
        raise ValueError(f"{path}: layout {words[0]}, expected {_LAYOUT}")
    return words
