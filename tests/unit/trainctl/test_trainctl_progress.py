"""The fold of a run's stream, and the two views and the summary that are drawn from it."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from trainctl.follow.line_view import LineView
from trainctl.follow.live_view import draw
from trainctl.follow.progress import Progress
from trainctl.follow.summary import summarize

Json = dict[str, Any]


def epoch(number: int, train_loss: float, val_loss: float | None, since: int = 0) -> Json:
    return {
        "event": "epoch",
        "epoch": number,
        "step": 100 * number,
        "train_loss": train_loss,
        "val_loss": val_loss,
        "metrics": {},
        "epochs_since_best": since,
    }


def seen(run: Json, *moments: tuple[float, int]) -> Progress:
    progress = Progress(run)
    for seconds, step in moments:
        progress.see_run(run | {"step": step}, seconds)
    return progress


def test_the_rate_is_unknown_until_the_run_moves(run: Json) -> None:
    assert seen(run, (0.0, 100)).steps_per_second is None
    assert seen(run, (0.0, 100), (1.0, 100)).seconds_to_max_epochs is None


def test_the_rate_is_that_of_late_and_gives_the_time_to_max_epochs(run: Json) -> None:
    """400 epochs of 100 steps are 40000 steps; the slow start is forgotten."""
    progress = seen(run, (0.0, 0), (100.0, 10), (110.0, 110), (120.0, 210))

    assert progress.steps_per_second == 10.0
    assert progress.seconds_to_max_epochs == (40000 - 210) / 10.0


def test_the_rate_starts_anew_when_an_attempt_goes_back_to_a_checkpoint(run: Json) -> None:
    progress = seen(run, (0.0, 0), (1.0, 500), (2.0, 300))

    assert progress.steps_per_second is None


def test_a_line_that_comes_twice_changes_nothing(run: Json) -> None:
    """After a reconnect, or a resume that replays an epoch."""
    progress = Progress(run)
    for event in (epoch(1, 0.5, 0.6), epoch(2, 0.4, 0.5), epoch(2, 0.4, 0.5)):
        progress.see_event(event)

    assert progress.losses("val_loss") == [0.6, 0.5]


def test_an_epoch_that_was_not_seen_is_a_gap(run: Json) -> None:
    progress = Progress(run)
    for event in (epoch(3, 0.5, None), epoch(5, 0.3, 0.2)):
        progress.see_event(event)

    assert progress.losses("train_loss") == [0.5, None, 0.3]
    assert progress.losses("val_loss") == [None, None, 0.2]


def test_the_live_view_shows_where_the_run_stands_and_how_to_stop_it(run: Json) -> None:
    progress = seen(run, (0.0, 1050), (10.0, 1150))
    progress.see_metrics({"split": "train", "loss": 0.031})
    progress.see_metrics({"split": "val", "loss": 0.02})
    for event in (epoch(10, 0.5, 0.6), epoch(11, 0.4, 0.5)):
        progress.see_event(event)
    console = Console(width=100, record=True, file=StringIO())

    console.print(draw(progress, 100))
    text = console.export_text()

    for expected in (
        "run 7 (overnight)",
        "12/400",
        "10 steps/s",
        "at most 1 h 4 min",
        "train 0.031  val 0.02",
        "val_loss 0.0123 at epoch 9; 2 of 50 epochs of patience used",
        "line: val_loss, dots: train_loss, epochs 10 to 11",
        "stop it with: trainctl stop 7",
    ):
        assert expected in text


def test_the_live_view_can_be_drawn_before_anything_is_known(run: Json) -> None:
    unknown = {"monitor": None, "steps_per_epoch": None, "max_epochs": None, "patience": None, "step": 0, "epoch": 0}
    console = Console(width=40, record=True, file=StringIO())

    console.print(draw(Progress(run | unknown | {"state": "queued"}), 40))

    assert "queued" in console.export_text()


def test_a_name_from_outside_cannot_steer_the_terminal(run: Json) -> None:
    console = Console(width=100, record=True, file=StringIO())

    console.print(draw(Progress(run | {"name": "a\x1b[2J[red]"}), 100))

    assert "a\\x1b[2J[red]" in console.export_text()


def test_the_line_view_has_a_line_for_each_state_and_each_epoch(run: Json) -> None:
    lines: list[str] = []
    view = LineView(lines.append)
    progress = Progress(run | {"state": "queued"})
    view.show(progress, None)
    progress.see_run(run, 1.0)
    view.show(progress, None)
    view.show(progress, None)
    view.show(progress, epoch(1, 0.5, 0.25))
    view.show(progress, epoch(2, 0.4, None, since=1))
    view.show(progress, {"event": "checkpoint", "step": 100})

    assert lines == [
        "run 7 (overnight) is queued",
        "run 7 (overnight) is running",
        "epoch 1/400  step 100  train_loss 0.5  val_loss 0.25  best so far",
        "epoch 2/400  step 200  train_loss 0.4  1 since the best",
    ]


def test_the_summary_says_what_early_stopping_has_saved_and_where_the_model_lies(completed: Json) -> None:
    assert summarize(completed) == [
        "run 7 (overnight) completed: early stopping",
        "  best       val_loss 0.0123 at epoch 280",
        "  stopped    after epoch 330 of 400, step 33000",
        "  saved      17.5 % of 400 epochs, by early stopping",
        "  duration   2 h 13 min",
        "  model      /home/someone/runs/7/model.safetensors (epoch 280, step 28000)",
        "  directory  /home/someone/runs/7",
    ]


def test_the_summary_of_a_failure_names_the_error_and_the_log(completed: Json) -> None:
    lines = summarize(
        completed | {"state": "failed", "reason": "diverged", "error": "the loss became nan", "model": None}
    )

    assert lines[0] == "run 7 (overnight) failed: diverged"
    assert "  error      the loss became nan" in lines
    assert "  log        trainctl logs 7" in lines
    assert not any("saved" in line for line in lines)
