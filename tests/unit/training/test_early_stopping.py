"""Early stopping decides as its definition says, also across a resume, and as lightning does where the two agree.

lightning_early_stopping.json is recorded by tests/tools/record_lightning_early_stopping.py. The definitions differ:
lightning stops at once at NaN unless check_finite is off (it is off in the recording), takes an infinity on the good
side for an improvement, knows no warm-up, and numbers epochs from 0 where trainerd counts from 1.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from early_stopping_sequences import SEQUENCES, Sequence
from hypothesis import given
from hypothesis import strategies as st

from trainerd.contracts.spec import EarlyStopping
from trainerd.training.early_stopping import Standing, Watch

RECORDED = json.loads(Path(__file__).with_name("lightning_early_stopping.json").read_text())
STEPS_PER_EPOCH = 100


def watch_of(sequence: Sequence) -> Watch:
    return Watch("val_loss", sequence.mode, sequence.min_delta, sequence.patience, sequence.warmup_epochs)


def stopping_epoch(sequence: Sequence, resume_after: int | None = None) -> int | None:
    """The epoch after which our early stopping ends the sequence, with a round trip through JSON after one epoch."""
    watch, standing = watch_of(sequence), Standing()
    for epoch, value in enumerate(sequence.values, start=1):
        standing = standing.observe(watch, epoch, epoch * STEPS_PER_EPOCH, value)
        if standing.is_exhausted(watch):
            return epoch
        if epoch == resume_after:
            standing = Standing.from_json(json.loads(json.dumps(standing.to_json())))
    return None


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.name)
def test_a_sequence_stops_after_the_epoch_that_the_definition_names(sequence: Sequence) -> None:
    assert stopping_epoch(sequence) == sequence.stops_after


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.name)
def test_a_resume_after_any_epoch_does_not_move_the_stop(sequence: Sequence) -> None:
    """Also in the middle of patience."""
    last = sequence.stops_after or len(sequence.values)
    assert {stopping_epoch(sequence, resume_after) for resume_after in range(1, last + 1)} == {sequence.stops_after}


@pytest.mark.parametrize(
    "sequence", [each for each in SEQUENCES if each.lightning_agrees], ids=lambda sequence: sequence.name
)
def test_lightning_stops_after_the_same_epoch(sequence: Sequence) -> None:
    recorded = RECORDED["stopped_epoch"][sequence.name]
    assert stopping_epoch(sequence) == (None if recorded is None else recorded + 1)


@pytest.mark.parametrize(
    "sequence", [each for each in SEQUENCES if not each.lightning_agrees], ids=lambda sequence: sequence.name
)
def test_where_lightning_is_said_to_differ_it_does(sequence: Sequence) -> None:
    """Otherwise the exemption would have lost its reason."""
    recorded = RECORDED["stopped_epoch"][sequence.name]
    assert sequence.stops_after != (None if recorded is None else recorded + 1)


def test_best_is_the_first_epoch_that_was_strictly_better() -> None:
    watch, standing = Watch("val_loss"), Standing()
    for epoch, value in enumerate([1.0, 0.5, 0.5, float("nan")], start=1):
        standing = standing.observe(watch, epoch, epoch * STEPS_PER_EPOCH, value)
    assert (standing.best, standing.best_epoch, standing.best_step) == (0.5, 2, 200)
    assert standing.last != standing.last  # NaN is what was measured last
    assert standing.epochs_since_best(watch) == 2


def test_without_patience_nothing_ever_stops() -> None:
    watch, standing = Watch.of(None, ("val_loss", "min")), Standing()
    for epoch in range(1, 1001):
        standing = standing.observe(watch, epoch, epoch, 1.0)
    assert not standing.is_exhausted(watch)
    assert standing.epochs_since_best(watch) == 999


def test_a_watch_holds_what_the_configuration_says() -> None:
    section = EarlyStopping(monitor="val_accuracy", mode="max", patience=7, min_delta=0.5, warmup_epochs=3)
    assert Watch.of(section, ("val_accuracy", "max")) == Watch("val_accuracy", "max", 0.5, 7, 3)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30), st.integers(1, 5))
def test_it_stops_exactly_when_the_epochs_since_the_best_reach_patience(values: list[float], patience: int) -> None:
    watch, standing = Watch("val_loss", patience=patience), Standing()
    for epoch, value in enumerate(values, start=1):
        standing = standing.observe(watch, epoch, epoch, value)
        assert standing.is_exhausted(watch) == (epoch - (standing.best_epoch or 0) >= patience)
        assert standing.best == min((each for each in values[:epoch] if math.isfinite(each)), default=None)
