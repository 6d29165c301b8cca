"""What a run has come to, in a few lines."""

from __future__ import annotations

from typing import Any

from trainctl.figures import best_of_run, duration, seconds_between
from trainctl.tables import draw_facts
from trainerd.contracts.states import Reason, State

Json = dict[str, Any]


def summarize(run: Json) -> list[str]:
    """The lines of the summary of a run that has ended or is paused."""
    model = run.get("model")
    facts = [
        ("best", best_of_run(run) if run.get("monitor") else None),
        ("stopped", _stopping_epoch(run)),
        ("saved", _saving(run)),
        ("duration", _duration(run)),
        ("model", model and f"{model['path']} (epoch {model['epoch']}, step {model['step']})"),
        ("directory", run["run_dir"]),
        ("error", run.get("error")),
        ("log", f"trainctl logs {run['id']}" if run["state"] == State.FAILED else None),
    ]
    head = f"run {run['id']} ({run['name']}) {_ending(run)}"
    return [head, *draw_facts([(name, value) for name, value in facts if value], indent="  ")]


def _ending(run: Json) -> str:
    reason = run.get("reason")
    return f"{run['state']}: {reason.replace('_', ' ')}" if reason else str(run["state"])


def _stopping_epoch(run: Json) -> str | None:
    if not run["step"]:
        return None
    return f"after epoch {run['epoch']} of {run.get('max_epochs') or '?'}, step {run['step']}"


def _saving(run: Json) -> str | None:
    """What early stopping has spared, as a share of the epochs that were allowed."""
    most = run.get("max_epochs")
    if run.get("reason") != Reason.EARLY_STOPPING or not most:
        return None
    return f"{100 * (most - run['epoch']) / most:.1f} % of {most} epochs, by early stopping"


def _duration(run: Json) -> str | None:
    seconds = seconds_between(run.get("started_at"), run.get("ended_at"))
    return None if seconds is None else duration(seconds)
