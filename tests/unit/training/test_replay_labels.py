"""What is repeated bit for bit is exact, what differs by rounding within tolerance, anything else has diverged."""

import math
from typing import Any

import numpy as np
import pytest

from trainerd.contracts.states import Exactness
from trainerd.training.exactness import RELATIVE_TOLERANCE, compare_values, label_resume, worst
from trainerd.training.replay import Before, Difference, Replay
from trainerd.training.step_record import Steps, steps_of

EXACT, WITHIN, DIVERGED = Exactness


def steps(first: int, losses: list[float], batch: int = 0) -> Steps:
    numbers = np.arange(first, first + len(losses))
    return steps_of(numbers, numbers.astype(np.uint64) + np.uint64(batch), np.array(losses))


class Repeated:
    """A replay of four steps from step 11 on, with what it has reported."""

    def __init__(self, lines: dict[Any, Any] | None = None, epochs: dict[int, Any] | None = None) -> None:
        self.differences: list[Difference] = []
        before = Before(steps(11, [1.0, 2.0, 3.0, 4.0]), lines or {}, epochs or {})
        self.replay = Replay(before, self.differences.append)


@pytest.mark.parametrize(
    ("was", "now", "label"),
    [
        (0.1, 0.1, EXACT),
        (math.nan, math.nan, EXACT),
        (None, None, EXACT),
        (0.1, math.nextafter(0.1, 1), WITHIN),
        (1.0, 1.0 + 0.9 * RELATIVE_TOLERANCE, WITHIN),
        (1.0, 1.0 + 1.1 * RELATIVE_TOLERANCE, DIVERGED),
        (1.0, math.nan, DIVERGED),
        (1.0, None, DIVERGED),
        (3, 4, DIVERGED),  # an epoch, a step: never nearly right
        ({"value": 1.0, "epoch": 2}, {"value": 1.0, "epoch": 2}, EXACT),
        ({"value": 1.0, "epoch": 2}, {"value": 1.0001, "epoch": 2}, WITHIN),
        ({"value": 1.0, "epoch": 2}, {"value": 1.0, "epoch": 3}, DIVERGED),
        ({"value": 1.0}, None, DIVERGED),
    ],
)
def test_a_value_is_the_same_nearly_the_same_or_another(was: Any, now: Any, label: Exactness) -> None:
    assert compare_values(was, now) == label


def test_steps_that_come_again_are_exact_and_are_counted() -> None:
    repeated = Repeated()
    repeated.replay.compare_steps(steps(9, [0.0, 0.0, 1.0, 2.0]))  # two that nobody has recorded
    assert not repeated.replay.is_done(12)
    repeated.replay.compare_steps(steps(13, [3.0, 4.0, 5.0]))
    assert repeated.replay.is_done(15)
    assert (repeated.replay.exactness, repeated.replay.steps_compared, repeated.differences) == (EXACT, 4, [])


def test_the_first_difference_is_told_and_the_first_worse_one() -> None:
    repeated = Repeated()
    repeated.replay.compare_steps(steps(11, [1.0, 2.0000001, 3.0000001, 5.0]))
    told = [(each.step, each.key, each.exactness) for each in repeated.differences]
    assert told == [(12, "loss", WITHIN), (14, "loss", DIVERGED)]
    assert repeated.replay.exactness == DIVERGED


def test_another_batch_is_never_within_tolerance() -> None:
    repeated = Repeated()
    repeated.replay.compare_steps(steps(11, [1.0], batch=1))
    [difference] = repeated.differences
    assert (difference.key, difference.exactness) == ("batch", DIVERGED)
    assert difference.was == f"{11:016x}"


def test_lines_and_epochs_are_compared_but_for_what_is_true_of_one_attempt_only() -> None:
    line = {"split": "val", "step": 14, "loss": 0.5, "time": "a"}
    epoch = {"step": 14, "train_loss": 0.3, "seconds": 1.0, "best": {"value": 0.5, "epoch": 2, "step": 14}}
    repeated = Repeated({("val", 14): line}, {14: epoch})
    repeated.replay.compare_steps(steps(11, [1.0, 2.0, 3.0, 4.0]))
    repeated.replay.compare_line({**line, "time": "b"})
    assert not repeated.replay.is_done(14)
    repeated.replay.compare_epoch({**epoch, "seconds": 2.0})
    assert repeated.replay.is_done(14)
    assert repeated.differences == []


@pytest.mark.parametrize("key", ["train_loss", "best", "epochs_since_best"])
def test_an_epoch_that_stands_otherwise_is_a_difference(key: str) -> None:
    epoch: dict[str, Any] = {"step": 14, "train_loss": 0.3, "best": None, "epochs_since_best": 1}
    repeated = Repeated(epochs={14: epoch})
    repeated.replay.compare_epoch({**epoch, key: 0.7 if key == "train_loss" else 2})
    assert [each.key for each in repeated.differences] == [key]


def test_a_measure_that_was_added_or_dropped_is_no_difference() -> None:
    repeated = Repeated({("val", 14): {"split": "val", "step": 14, "loss": 0.5, "mae": 0.1}})
    repeated.replay.compare_line({"split": "val", "step": 14, "loss": 0.5, "accuracy": 0.9})
    assert repeated.differences == []


def test_a_line_that_never_comes_again_does_not_keep_the_replay_open() -> None:
    repeated = Repeated({("train", 13): {"split": "train", "step": 13, "loss": 0.5}})
    assert not repeated.replay.is_done(14)
    assert repeated.replay.is_done(15)


@pytest.mark.parametrize(
    ("circumstance", "label"),
    [
        ({}, EXACT),
        ({"differs_in_environment": True}, WITHIN),
        ({"repeats_bits": False}, WITHIN),
        ({"is_whole": False}, DIVERGED),
        ({"has_other_inputs": True}, DIVERGED),
        ({"effect": WITHIN}, WITHIN),
        ({"effect": DIVERGED}, DIVERGED),
        ({"differs_in_environment": True, "effect": DIVERGED}, DIVERGED),
    ],
)
def test_a_resume_is_as_true_as_its_circumstances(circumstance: dict[str, Any], label: Exactness) -> None:
    usual = {"differs_in_environment": False, "repeats_bits": True, "is_whole": True, "has_other_inputs": False}
    assert label_resume(**{**usual, "effect": EXACT, **circumstance}) == label


def test_the_worst_of_no_labels_is_exact() -> None:
    assert worst([]) == EXACT
    assert worst([WITHIN, DIVERGED, EXACT]) == DIVERGED
