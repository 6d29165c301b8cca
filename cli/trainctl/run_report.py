"""Everything about one run as lines for people: what `show` prints, and `status ID` without the checkpoints."""

from __future__ import annotations

from typing import Any

from trainctl.figures import (
    best_of_run,
    block_of_run,
    duration,
    epoch_of_run,
    exactness_of_run,
    moment,
    seconds_between,
    size,
    stall_of_run,
)
from trainctl.tables import draw_facts, draw_table
from trainerd.contracts.states import RESTARTABLE

Json = dict[str, Any]


def describe_run(run: Json) -> list[str]:
    """The run's facts, one a line; what is not known yet is left out."""
    facts = [
        ("state", describe_state(run)),
        ("stalled", stall_of_run(run) if run.get("stalled") else None),
        ("waits for", f"{block_of_run(run)} on the disk of {run['blocked']['disk']}" if run.get("blocked") else None),
        ("error", run.get("error")),
        ("epoch", epoch_of_run(run)),
        ("step", str(run["step"])),
        ("best", best_of_run(run) if run.get("monitor") else None),
        ("model", _model(run)),
        ("attempt", str(run["attempt"]) if run["attempt"] else None),
        ("resumed", exactness_of_run(run)),
        ("priority", str(run["priority"])),
        ("after", run.get("after") and f"run {run['after']}"),
        ("processes", ", ".join(str(pid) for pid in run["pids"])),
        ("submitted", moment(run["created_at"])),
        ("started", moment(run["started_at"]) if run["started_at"] else None),
        ("ended", _ended(run)),
        ("directory", run["run_dir"]),
        ("legal now", ", ".join(_legal(run))),
    ]
    return [
        f"run {run['id']} ({run['name']})",
        *draw_facts([(name, value) for name, value in facts if value], indent="  "),
    ]


def describe_checkpoints(run: Json) -> list[str]:
    """The run's checkpoints as a table, oldest first; no lines where it has none."""
    rows = [
        [
            str(checkpoint["step"]),
            str(checkpoint["epoch"]),
            ", ".join(checkpoint["kinds"]) or "-",
            size(checkpoint["bytes"]),
            moment(checkpoint["committed_at"]),
            checkpoint["path"],
        ]
        for checkpoint in sorted(run["checkpoints"], key=lambda checkpoint: checkpoint["step"])
    ]
    headers = ["STEP", "EPOCH", "KINDS", "SIZE", "COMMITTED", "CHECKPOINT"]
    return ["", *draw_table(headers, rows, indent="  ")] if rows else []


def describe_state(run: Json) -> str:
    """The run's state, with what is known of its end: failed (hang, signal 9)."""
    ending = [
        run.get("reason"),
        run.get("exit_code") and f"exit code {run['exit_code']}",
        run.get("signal") and f"signal {run['signal']}",
    ]
    details = ", ".join(part for part in ending if part)
    return f"{run['state']} ({details})" if details else str(run["state"])


def _legal(run: Json) -> list[str]:
    """What may be ordered of the run; of one that has ended or is paused, also to begin it anew."""
    legal: list[str] = run.get("legal") or []
    return [*legal, "retry --from-start"] if run["state"] in RESTARTABLE else legal


def _model(run: Json) -> str | None:
    model = run.get("model")
    return model and f"{model['path']} (epoch {model['epoch']}, step {model['step']})"


def _ended(run: Json) -> str | None:
    if not run["ended_at"]:
        return None
    length = seconds_between(run["started_at"], run["ended_at"])
    return moment(run["ended_at"]) + (f", after {duration(length)}" if length is not None else "")
