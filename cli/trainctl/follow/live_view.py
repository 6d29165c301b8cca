"""A run's progress as a small picture that stays in place on a terminal. The only part of trainctl that loads rich."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from trainctl.curve import draw_curve
from trainctl.figures import UNKNOWN, duration, epoch_of_run, number
from trainctl.follow.progress import Progress
from trainctl.tables import draw_facts
from trainctl.terminal import escaped

Json = dict[str, Any]

_REDRAW_SECONDS = 0.1
_CURVE_WIDTH = 72
_CURVE_HEIGHT = 7


class LiveView:
    """Draws on `console` between `with` and its end, and leaves nothing behind."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress, event: Json | None) -> None:  # noqa: ARG002 - the line view's interface
        """Draw what is known now, but not more often than an eye can follow."""
        if time.monotonic() - self._drawn_at >= _REDRAW_SECONDS:
            self._live.update(draw(progress, self._console.width), refresh=True)
            self._drawn_at = time.monotonic()


def draw(progress: Progress, width: int) -> Group:
    """The whole picture, at most `width` columns wide."""
    run = progress.run
    head = Text.assemble((escaped(f"run {run['id']} ({run['name']})"), "bold"), "  ", (run["state"], "green"))
    facts = Text("\n".join(draw_facts(_facts(progress), indent="  ")))
    parts: list[RenderableType] = [head, _bar(run, min(width, _CURVE_WIDTH)), facts]
    curve = draw_curve(
        progress.losses("val_loss"), progress.losses("train_loss"), min(width - 1, _CURVE_WIDTH), _CURVE_HEIGHT
    )
    if curve:
        parts += [Text("\n".join(curve), style="cyan"), Text(_legend(progress), style="dim")]
    hint = f"Ctrl+C detaches, the run goes on; stop it with: trainctl stop {run['id']}"
    return Group(*parts, Text(hint, style="dim"))


def _bar(run: Json, width: int) -> ProgressBar:
    total = (run.get("steps_per_epoch") or 0) * (run.get("max_epochs") or 0)
    return ProgressBar(total=total or 1, completed=run["step"] if total else 0, width=width)


def _facts(progress: Progress) -> list[tuple[str, str]]:
    rate, left = progress.steps_per_second, progress.seconds_to_max_epochs
    return [
        ("epoch", epoch_of_run(progress.run)),
        ("step", f"{progress.run['step']}" + (f"  {number(rate)} steps/s" if rate else "")),
        ("left", UNKNOWN if left is None else f"at most {duration(left)}"),
        ("loss", f"train {number(progress.train_loss)}  val {number(progress.val_loss)}"),
        ("best", _best(progress)),
    ]


def _best(progress: Progress) -> str:
    monitor, since, patience = progress.run.get("monitor"), progress.epochs_since_best, progress.run.get("patience")
    if not monitor or since is None:
        return UNKNOWN
    waited = f"{since} of {patience} epochs of patience used" if patience else f"{since} epochs ago"
    return f"{monitor['name']} {number(monitor['best'])} at epoch {monitor['best_epoch']}; {waited}"


def _legend(progress: Progress) -> str:
    has_val = any(value is not None for value in progress.losses("val_loss"))
    series = "line: val_loss, dots: train_loss" if has_val else "dots: train_loss"
    return f"          {series}, epochs {min(progress.epochs)} to {max(progress.epochs)}"
