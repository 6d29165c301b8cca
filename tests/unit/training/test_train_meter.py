"""Losses become lines and means that do not depend on when they were read from the device."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainerd.training.loss_transfer import Losses
from trainerd.training.train_meter import TrainMeter


def add(meter: TrainMeter, step: int, loss: float, samples: int) -> None:
    meter.add(step, 1, torch.tensor(loss), samples, 1e-3)


def test_a_line_is_the_mean_per_sample_since_the_last_line() -> None:
    meter = TrainMeter(log_every_steps=2)
    for step, (loss, samples) in enumerate([(1.0, 4), (4.0, 2), (3.0, 4), (5.0, 4)], start=1):
        add(meter, step, loss, samples)
    assert [(line["step"], line["loss"]) for line in meter.drain().lines] == [(2, 2.0), (4, 4.0)]


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
            lines += often.drain().lines
    lines += often.drain().lines
    expected = once.drain().lines
    assert [line["loss"] for line in lines] == [line["loss"] for line in expected]
    assert often.finish_epoch() == once.finish_epoch()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_own_step(value: float) -> None:
    meter = TrainMeter(log_every_steps=10)
    add(meter, 41, 1.0, 1)
    add(meter, 42, value, 1)
    add(meter, 43, math.nan, 1)
    assert str(meter.drain().diverged) == f"the loss became {value} at step 42"


def test_lines_before_a_loss_that_is_not_finite_are_complete() -> None:
    meter = TrainMeter(log_every_steps=1)
    add(meter, 1, 1.0, 1)
    add(meter, 2, math.nan, 1)
    add(meter, 3, 1.0, 1)
    drained = meter.drain()
    assert [line["step"] for line in drained.lines] == [1]
    assert drained.losses.tolist() == [1.0]
    assert drained.diverged is not None


class LateTransfer:
    """What a GPU does: the losses come some time after they were sent off."""

    def __init__(self, losses: Sequence[torch.Tensor]) -> None:
        self.has_come = False
        self._losses = torch.stack(list(losses)).double().numpy()

    def is_done(self) -> bool:
        return self.has_come

    def losses(self) -> Losses:
        return self._losses


def test_losses_that_are_still_on_their_way_hold_nothing_up_and_none_is_lost() -> None:
    under_way: list[LateTransfer] = []

    def begin(losses: Sequence[torch.Tensor]) -> LateTransfer:
        under_way.append(LateTransfer(losses))
        return under_way[-1]

    meter = TrainMeter(log_every_steps=2, begin_transfer=begin)
    add(meter, 7, 1.0, 1)
    add(meter, 8, 3.0, 1)
    assert len(meter.drain(wait=False).losses) == 0
    add(meter, 9, 5.0, 1)
    assert len(meter.drain(wait=False).losses) == 0  # the first ones have not come: nothing else is sent off
    under_way[0].has_come = True

    first = meter.drain(wait=False)
    rest = meter.drain()

    assert (first.first_step, first.losses.tolist()) == (7, [1.0, 3.0])
    assert [line["loss"] for line in first.lines] == [2.0]
    assert (rest.first_step, rest.losses.tolist()) == (9, [5.0])


def test_a_loss_that_is_not_finite_ends_what_is_taken_though_later_ones_have_come() -> None:
    meter = TrainMeter(log_every_steps=10, begin_transfer=LateTransfer)
    add(meter, 1, math.nan, 1)
    meter.drain(wait=False)
    add(meter, 2, 1.0, 1)

    drained = meter.drain()

    assert str(drained.diverged) == "the loss became nan at step 1"
    assert drained.losses.tolist() == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_losses_of_a_gpu_come_in_their_order_without_the_loop_waiting() -> None:
    meter = TrainMeter(log_every_steps=1)
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(50):
        busy = busy @ busy / 64
    meter.add(1, 1, torch.tensor(0.5, device="cuda") + 0 * busy[0, 0], 1, 1e-3)
    assert len(meter.drain(wait=False).losses) == 0  # the products are still under way
    meter.add(2, 1, torch.tensor(0.25, device="cuda"), 1, 1e-3)
    drained = meter.drain()
    assert (drained.first_step, len(drained.losses)) == (1, 2)
    assert drained.losses[1] == 0.25
