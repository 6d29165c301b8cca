"""The last lines of `trainerd train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trainerd.contracts.outcome import Outcome
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.worker.summary import summarize

FIELD = {"shape": [4]}
SPEC = RunSpec.model_validate(
    {
        "name": "overnight",
        "data": {"kind": "synthetic", "samples": 8, "inputs": FIELD, "targets": FIELD, "batch_size": 4},
        "model": {"name": "mlp"},
        "loss": {"name": "mse"},
        "trainer": {"max_epochs": 400},
    }
)
CONVERGED = Outcome(
    state="completed",
    reason="early_stopping",
    exit_code=0,
    signal=None,
    step=33000,
    epoch=330,
    monitor={"name": "val_loss", "mode": "min", "best": 0.0123, "best_epoch": 280, "best_step": 28000, "last": 0.0125},
    model={"path": "/runs/overnight-1/model.safetensors", "step": 28000, "epoch": 280},
    error=None,
    attempt=1,
    ended_at="2026-11-23T03:00:00+00:00",
)


def lines_of(outcome: Outcome) -> list[str]:
    return summarize(outcome, SPEC, RunDirectory(Path("/runs/overnight-1")), again="trainerd train overnight.yaml")


def test_early_stopping_names_the_best_epoch_the_share_saved_and_the_model() -> None:
    assert lines_of(CONVERGED) == [
        "overnight: completed (early_stopping) at step 33000, after 330 epochs",
        "best val_loss: 0.0123 at epoch 280",
        "early stopping saved 18% of max_epochs (330 of 400 epochs)",
        "model: /runs/overnight-1/model.safetensors (epoch 280)",
    ]


def test_an_interrupted_run_says_how_to_go_on() -> None:
    interrupted = replace(CONVERGED, state="interrupted", reason=None, model=None, monitor=None)

    assert lines_of(interrupted)[-1] == "go on with: trainerd train overnight.yaml --run-dir /runs/overnight-1"


def test_a_failure_says_why() -> None:
    failed = replace(CONVERGED, state="failed", reason="diverged", error="the loss became nan at step 7", model=None)

    assert "failed (diverged)" in lines_of(failed)[0]
    assert "the loss became nan at step 7" in lines_of(failed)[0]
