"""Gives orders to trainers through their orders page.

The numbers on the page only grow, and each says whose order it is: that of command N is N * 2**20, and the supervisor's
own orders (it interrupts trainers when it shuts down) take the numbers in between. So no order is ever taken for one
that a newer attempt counts as settled, and giving a command's order again, at replay too, changes nothing.
"""

from __future__ import annotations

from trainerd.contracts.pages import Order, OrdersPage
from trainerd.contracts.run_directory import RunDirectory

_NUMBERS_PER_COMMAND = 1 << 20


def give_order(directory: RunDirectory, order: Order, command_number: int) -> None:
    """Ask the run's trainer for what a command wants. Raises OSError or ValueError where there is no orders page."""
    OrdersPage(directory.orders_page, writable=True).give(order, number_of_order(command_number))


def number_of_order(command_number: int) -> int:
    """The number on the page of what a command asks for."""
    return command_number * _NUMBERS_PER_COMMAND


def repeat_checkpoint_order(directory: RunDirectory, pending: int | None) -> int | None:
    """Ask the trainer that starts next for the checkpoint that the one before did not make; the order's new number.

    None where none is `pending`. Raises OSError or ValueError as `give_order` does.
    """
    if pending is None:
        return None
    page = OrdersPage(directory.orders_page, writable=True)
    number = page.newest() + 1
    page.give(Order.CHECKPOINT, number)
    return number


def interrupt(directory: RunDirectory) -> None:
    """Ask the run's trainer to save and end, to go on later. Raises OSError or ValueError as `give_order` does."""
    page = OrdersPage(directory.orders_page, writable=True)
    page.give(Order.INTERRUPT, page.newest() + 1)


def newest_order(directory: RunDirectory) -> int:
    """The number up to which a trainer that starts now counts orders as settled. Raises OSError or ValueError."""
    return OrdersPage(directory.orders_page).newest()
