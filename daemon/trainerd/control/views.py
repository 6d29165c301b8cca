"""A run as JSON: the record that the state holds, with what its directory knows better at this moment.

The live step comes from the pulse page, because the folded one lags; checkpoints come from their manifests. Reads only.
"""

from __future__ import annotations

import math
import shutil
from typing import Any

from trainerd.contracts.pages import Pulse, read_pulse
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, State, Verb, legal_verbs
from trainerd.control.checkpoint_list import list_checkpoints


def summarize_run(record: RunRecord, home: Home) -> dict[str, Any]:
    """The run as lists show it: everything but its specification and its checkpoints."""
    directory = RunDirectory(home.run(record.id))
    pulse = pulse_of(record, directory)
    early_stopping = record.spec.get("early_stopping") or {}
    return {
        "id": record.id,
        "name": record.name,
        "state": record.state,
        "reason": record.reason,
        "step": pulse.step if pulse and pulse.step else record.step,
        "epoch": max(record.epoch, pulse.epoch - 1)
        if pulse
        else record.epoch,  # the page holds the running one, from 1
        "attempt": record.attempt,
        "exactness": record.exactness,
        "pending_checkpoint": record.pending_checkpoint,
        "legal": [each for each in legal_verbs(record.state) if not (each is Verb.RESUME and record.lacks_checkpoint)],
        "priority": record.priority,
        "after": record.after,
        "owner": record.owner,
        "pids": [] if record.pid is None else [record.pid],
        "created_at": record.created_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "error": record.error,
        "monitor": _without_nan(record.monitor),
        "model": record.model,
        "steps_per_epoch": record.steps_per_epoch,
        "max_epochs": record.spec.get("trainer", {}).get("max_epochs"),
        "patience": early_stopping.get("patience"),
        "stalled": record.stalled,
        "blocked": _block(record, directory),
        "beat_age_seconds": round(pulse.age_seconds, 3) if pulse else None,
        "live": _live(pulse),
        "run_dir": str(directory.path),
    }


def describe_run(record: RunRecord, home: Home) -> dict[str, Any]:
    """Everything about one run."""
    directory = RunDirectory(home.run(record.id))
    best_step = record.monitor.get("best_step") if record.monitor else None
    summary = summarize_run(record, home)
    return {**summary, "checkpoints": list_checkpoints(directory.checkpoints, best_step), "spec": record.spec}


def pulse_of(record: RunRecord, directory: RunDirectory) -> Pulse | None:
    """The newest beat of the run's current attempt; None where no trainer is to be seen."""
    return read_pulse(directory.pulse_page, record.attempt) if record.state in LIVE else None


def _block(record: RunRecord, directory: RunDirectory) -> dict[str, Any] | None:
    """What a blocked run waits for: room on the disk that its directory lies on."""
    if record.state is not State.BLOCKED:
        return None
    free = shutil.disk_usage(directory.path).free if directory.path.exists() else None
    return {"disk": str(directory.path), "free_bytes": free, "needed_bytes": record.needed_bytes}


def _live(pulse: Pulse | None) -> dict[str, Any] | None:
    """What the trainer is doing now; `epoch` is the running one, from 1."""
    if pulse is None:
        return None
    return {"phase": pulse.phase.name.lower(), "epoch": pulse.epoch, "order_seen": pulse.order_seen}


def _without_nan(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """JSON has no NaN and no infinity: such a value is shown as null."""
    if values is None:
        return None
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
