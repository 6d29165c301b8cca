"""Orders reach a trainer through its page: each once, the stronger one first, none that was for another attempt."""

from pathlib import Path

import pytest

from trainerd.contracts.pages import Order, OrdersPage, create_pages
from trainerd.training.orders import Asked, Orders


@pytest.fixture
def page(tmp_path: Path) -> OrdersPage:
    create_pages(tmp_path / "orders.page", tmp_path / "pulse.page")
    return OrdersPage(tmp_path / "orders.page", writable=True)


def test_an_ending_order_is_seen_at_the_next_look_and_stays(page: OrdersPage) -> None:
    orders = Orders(page, settled=0)
    assert orders.ending() is None
    page.give(Order.STOP, 5)
    assert orders.ending() == Asked(Order.STOP, 5)
    assert orders.ending() == Asked(Order.STOP, 5)


def test_an_order_of_an_earlier_attempt_is_not_obeyed(page: OrdersPage) -> None:
    page.give(Order.STOP, 5)
    assert Orders(page, settled=5).ending() is None


def test_an_order_given_between_start_and_first_look_is_obeyed(page: OrdersPage) -> None:
    page.give(Order.STOP, 5)
    page.give(Order.STOP, 6)
    assert Orders(page, settled=5).ending() == Asked(Order.STOP, 6)


def test_a_checkpoint_order_is_taken_once(page: OrdersPage) -> None:
    orders = Orders(page, settled=0)
    page.give(Order.CHECKPOINT, 3)
    assert orders.take_checkpoint_order() == Asked(Order.CHECKPOINT, 3)
    assert orders.take_checkpoint_order() is None
    assert orders.ending() is None


def test_the_stronger_of_two_ending_orders_wins_whichever_came_first(page: OrdersPage) -> None:
    orders = Orders(page, settled=0)
    page.give(Order.PAUSE, 3)
    assert orders.ending() == Asked(Order.PAUSE, 3)
    page.give(Order.STOP_WITHOUT_CHECKPOINT, 4)
    assert orders.ending() == Asked(Order.STOP_WITHOUT_CHECKPOINT, 4)


def test_a_signal_is_an_interruption_unless_a_person_asked_for_more(page: OrdersPage) -> None:
    orders = Orders(page, settled=0)
    orders.interrupt()
    assert orders.ending() == Asked(Order.INTERRUPT, 0)
    page.give(Order.STOP, 9)
    assert orders.ending() == Asked(Order.STOP, 9)


def test_giving_an_older_number_changes_nothing(page: OrdersPage) -> None:
    page.give(Order.STOP, 9)
    page.give(Order.STOP, 3)
    assert page.number(Order.STOP) == 9
