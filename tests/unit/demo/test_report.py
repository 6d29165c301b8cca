"""The demo's last words."""

from __future__ import annotations

from typing import Any

from demo.report import describe_run

RUN: dict[str, Any] = {
    "monitor": {"name": "val_loss", "best": 0.0776, "best_epoch": 49, "best_step": 343, "last": 0.08},
    "run_dir": "/runs/3",
}


def test_it_compares_the_error_with_that_of_the_noisy_input() -> None:
    assert "error 0.3419 before, 0.0776 after denoising (23%)" in describe_run(RUN, noisy_error=0.3419)


def test_it_says_where_metrics_and_curves_lie() -> None:
    report = describe_run(RUN, noisy_error=0.3419)

    assert "/runs/3/metrics.jsonl" in report
    assert "tensorboard --logdir /runs/3/tensorboard" in report


def test_a_run_that_never_validated_has_places_too() -> None:
    report = describe_run({**RUN, "monitor": None}, noisy_error=0.3419)

    assert "before" not in report
    assert "/runs/3/metrics.jsonl" in report
