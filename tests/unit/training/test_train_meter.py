"""Losses become lines and means that do not depend on when they were read from the device."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainerd.training.train_meter import TrainMeter


def add(meter: TrainMeter, step: int, loss: float, samples: int) -> None:
    meter.add(step, 1, torch.tensor(loss), samples, 1e-3)


def test_a_line_is_the_mean_per_sample_since_the_last_line() -> None:
    meter = TrainMeter(log_every_steps=2)
    for step, (loss, samples) in enumerate([(1.0, 4), (4.0, 2), (3.0, 4), (5.0, 4)], start=1):
        add(meter, step, loss, samples)
    assert [(line["step"], line["loss"]) for line in meter.drain()[0]] == [(2, 2.0), (4, 4.0)]


def test_the_epochs_mean_counts_every_sample_once() -> None:
    meter = TrainMeter(log_every_steps=100)
    add(meter, 1, 1.0, 3)
    meter.drain()
    add(meter, 2, 5.0, 1)
    meter.drain()
    assert meter.finish_epoch() == 2.0
    assert meter.finish_epoch() is None


@given(
    st.lists(st.tuples(st.floats(0, 1e3, width=32), st.integers(1, 64)), min_size=1, max_size=40),
    st.sets(st.integers(0, 39)),
)
def test_when_the_losses_are_read_changes_no_bit(losses: list[tuple[float, int]], drains: set[int]) -> None:
    """Sums are made in the order of the steps: a resumed run, which drains elsewhere, repeats them."""
    often, once = TrainMeter(log_every_steps=3), TrainMeter(log_every_steps=3)
    lines = []
    for index, (loss, samples) in enumerate(losses):
        add(often, index + 1, loss, samples)
        add(once, index + 1, loss, samples)
        if index in drains:
            lines += often.drain()[0]
    lines += often.drain()[0]
    expected = once.drain()[0]
    assert [line["loss"] for line in lines] == [line["loss"] for line in expected]
    assert often.finish_epoch() == once.finish_epoch()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_own_step(value: float) -> None:
    meter = TrainMeter(log_every_steps=10)
    add(meter, 41, 1.0, 1)
    add(meter, 42, value, 1)
    add(meter, 43, math.nan, 1)
    _, diverged = meter.drain()
    assert str(diverged) == f"the loss became {value} at step 42"


def test_lines_before_a_loss_that_is_not_finite_are_complete() -> None:
    meter = TrainMeter(log_every_steps=1)
    add(meter, 1, 1.0, 1)
    add(meter, 2, math.nan, 1)
    add(meter, 3, 1.0, 1)
    lines, diverged = meter.drain()
    assert [line["step"] for line in lines] == [1]
    assert diverged is not None
