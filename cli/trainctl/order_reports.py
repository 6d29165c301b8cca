"""What has become of an order, in a sentence for each run."""

from __future__ import annotations

from typing import Any

from trainerd.contracts.states import State, Verb

Json = dict[str, Any]

PARTICIPLES: dict[Verb, str] = {
    Verb.PAUSE: "paused",
    Verb.RESUME: "resumed",
    Verb.CHECKPOINT: "asked for a checkpoint",
    Verb.STOP: "stopped",
    Verb.KILL: "killed",
    Verb.CANCEL: "cancelled",
    Verb.RETRY: "retried",
    Verb.REMOVE: "removed",
    Verb.MOVE: "moved",
}
_RESUMABLE = (State.STOPPED, State.PAUSED)


def is_removed(run: Json) -> bool:
    """Whether nothing is left of it but its number."""
    return bool(run.get("removed"))


def report_state(run: Json) -> str:
    """Where the run stands, at which step, and from where it can go on."""
    text = f"{_name(run)} is {run['state']}" + (f" at step {run['step']}" if run["step"] else "")
    return text + (_where_it_can_go_on(run) if run["step"] and run["state"] in _RESUMABLE else "")


def _where_it_can_go_on(run: Json) -> str:
    newest = newest_checkpoint(run)
    if newest is None:
        return "; it has no checkpoint to go on from"
    lost = run["step"] - newest["step"]
    return f"; newest checkpoint: {newest['path']}" + (f"; {lost} steps will be done again" if lost else "")


def report_queued(run: Json) -> str:
    """That the run is queued, and at which step it goes on."""
    newest = newest_checkpoint(run)
    return f"{_name(run)} is {run['state']}" + (f"; it goes on from step {newest['step']}" if newest else "")


def report_removal(run: Json) -> str:
    return f"{_name(run)} is removed"


def newest_checkpoint(run: Json, kind: str | None = None) -> Json | None:
    """The newest checkpoint (of a kind) that the run has."""
    found = [checkpoint for checkpoint in run.get("checkpoints") or [] if kind is None or kind in checkpoint["kinds"]]
    return max(found, key=lambda checkpoint: checkpoint["step"], default=None)


def draw_outcome(run: Json) -> list[str]:
    """The run as a table, where it still exists."""
    if is_removed(run):
        return [report_removal(run)]
    from trainctl.run_report import describe_run

    return describe_run(run)


def _name(run: Json) -> str:
    return f"run {run['id']} ({run['name']})"
