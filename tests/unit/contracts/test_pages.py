"""The pages are a contract between processes: words that only grow, readable by anybody at any moment."""

import os
import time
from pathlib import Path

import pytest

from trainerd.contracts.pages import PAGE_BYTES, Order, OrdersPage, Phase, PulsePage, PulseWriter, create_pages


@pytest.fixture
def pages(tmp_path: Path) -> tuple[Path, Path]:
    create_pages(tmp_path / "orders.page", tmp_path / "pulse.page")
    return tmp_path / "orders.page", tmp_path / "pulse.page"


def test_what_one_process_writes_another_reads_at_once(pages: tuple[Path, Path]) -> None:
    child = os.fork()
    if child == 0:
        writer = PulseWriter(PulsePage(pages[1], writable=True), attempt=2)
        writer.beat(41)
        writer.set_epoch(3)
        writer.enter(Phase.VALIDATION)
        os._exit(0)
    os.waitpid(child, 0)
    pulse = PulsePage(pages[1]).read()
    assert (pulse.attempt, pulse.step, pulse.epoch, pulse.phase) == (2, 41, 3, Phase.VALIDATION)
    assert pulse.age_seconds < 60


def test_making_the_pages_again_keeps_what_they_hold(pages: tuple[Path, Path]) -> None:
    OrdersPage(pages[0], writable=True).give(Order.STOP, 5)
    create_pages(*pages)
    assert OrdersPage(pages[0]).newest() == 5


def test_a_reader_cannot_write(pages: tuple[Path, Path]) -> None:
    with pytest.raises(TypeError):
        OrdersPage(pages[0]).give(Order.STOP, 5)


def test_a_file_that_is_no_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"\xff" * PAGE_BYTES)
    for name in ("short", "other"):
        with pytest.raises(ValueError, match=name):
            PulsePage(tmp_path / name)


def test_a_beat_costs_less_than_two_microseconds(pages: tuple[Path, Path]) -> None:
    """Measured at about 150 ns on a quiet machine; the bound only catches a mistake of kind."""
    writer = PulseWriter(PulsePage(pages[1], writable=True), attempt=1)

    def seconds_per_beat() -> float:
        started = time.perf_counter()
        for step in range(1000):
            writer.beat(step)
        return (time.perf_counter() - started) / 1000

    assert min(seconds_per_beat() for _ in range(20)) < 2e-6
