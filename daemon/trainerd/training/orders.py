"""What a trainer is asked to do, by its orders page or by a signal: one look per step; nothing else enters the loop."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from types import FrameType

from trainerd.contracts.errors import ExitCode
from trainerd.contracts.pages import ENDING_ORDERS, Order, OrdersPage


@dataclass(frozen=True)
class Asked:
    """One order: its kind, and the number of the command behind it (0: a signal)."""

    order: Order
    number: int


class Orders:
    """What the orders page asks beyond what has been obeyed; a signal only sets a flag that the same look reads."""

    def __init__(self, page: OrdersPage, settled: int) -> None:
        self._page = page
        self._window = page.window()
        self._settled = dict.fromkeys(Order, settled)
        self._seen = memoryview(bytes(8 * len(self._window))).cast("Q")  # nothing looked at yet
        self._signalled = False
        self._ending: Asked | None = None
        self._checkpoint: Asked | None = None

    def ending(self) -> Asked | None:
        """The order that ends this attempt, if there is one; once seen it stays."""
        self._look()
        return self._ending

    def take_checkpoint_order(self) -> Asked | None:
        """An order for a pinned checkpoint that has not been obeyed yet; taking it settles it."""
        self._look()
        asked, self._checkpoint = self._checkpoint, None
        return asked

    def interrupt(self) -> None:
        """Ask for an interruption from inside this process (a signal handler)."""
        self._signalled = True

    def _look(self) -> None:
        if self._window == self._seen and not self._signalled:
            return
        self._seen = memoryview(bytes(self._window)).cast("Q")
        for order in Order:
            number = self._page.number(order)
            if number > self._settled[order]:
                self._settled[order] = number
                self._note(Asked(order, number))
        if self._signalled:
            self._note(Asked(Order.INTERRUPT, 0))

    def _note(self, asked: Asked) -> None:
        if asked.order is Order.CHECKPOINT:
            self._checkpoint = asked
        elif self._ending is None or ENDING_ORDERS.index(asked.order) < ENDING_ORDERS.index(self._ending.order):
            self._ending = asked


class SignalOrders:
    """SIGTERM and SIGINT interrupt the run at the next step boundary; a second SIGINT ends the process at once."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._interrupted = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                os._exit(ExitCode.INTERRUPTED)
            self._interrupted = True
        self._orders.interrupt()
