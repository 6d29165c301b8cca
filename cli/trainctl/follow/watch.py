"""Watching runs one after the other until each has ended or is paused."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from trainctl.curve import draw_curve
from trainctl.daemon import Daemon
from trainctl.detaching import detachable
from trainctl.follow.line_view import LineView
from trainctl.follow.progress import Progress
from trainctl.follow.summary import summarize
from trainctl.output import write_lines, write_runs
from trainctl.run_report import describe_run
from trainctl.server_sent_events import ServerSentEvent
from trainctl.terminal import say, write
from trainctl.waiting import exit_code_of
from trainerd.contracts.errors import ExitCode

Json = dict[str, Any]


class View(AbstractContextManager["View"], Protocol):
    """What shows progress while it happens."""

    def show(self, progress: Progress, event: Json | None) -> None:
        """Show what is known now. `event` is the journal's line that has just come, if one has."""


def follow_runs(daemon: Daemon, runs: Sequence[Json], output: str | None) -> ExitCode:
    """Show each run until it has settled, then a summary; the worst of their ends as exit code.

    With an `output` for scripts the progress goes to stderr, and the settled runs to stdout at the end.
    """
    settled = []
    for index, run in enumerate(runs):
        with detachable([left["id"] for left in runs[index:]]):
            progress = _watch(daemon, run, for_people=output is None)
        settled.append(progress.run)
        if output is None:
            _write_summary(progress)
    if output is not None:
        write_runs(settled, output, describe_run)
    return exit_code_of(settled)


def _watch(daemon: Daemon, run: Json, for_people: bool) -> Progress:
    """Everything that was to be known about the run when it had settled."""
    progress = Progress(run)
    with _view(for_people) as view:
        for message in daemon.stream(str(run["id"]), "follow"):
            view.show(progress, _take(progress, message))
    return progress


def _take(progress: Progress, message: ServerSentEvent) -> Json | None:
    """Fold one message; the journal's line that it brings, if it brings one."""
    document = json.loads(message.data)
    match message.name:
        case "run" | "end":
            progress.see_run(document, time.monotonic())
        case "metrics":
            progress.see_metrics(document)
        case "event":
            progress.see_event(document)
            return dict(document)
    return None


def _view(for_people: bool) -> View:
    if not for_people:
        return LineView(say)
    if not sys.stdout.isatty():
        return LineView(_write_at_once)
    from rich.console import Console

    from trainctl.follow.live_view import LiveView

    return LiveView(Console())


def _write_at_once(line: str) -> None:
    write(line)
    sys.stdout.flush()


def _write_summary(progress: Progress) -> None:
    write_lines(draw_curve(progress.losses("val_loss"), progress.losses("train_loss")))
    write_lines(summarize(progress.run))
