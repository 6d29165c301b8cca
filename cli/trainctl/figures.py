"""Numbers, times and sizes as people read them. Pure; scripts get the plain values from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN = "-"
_UNITS = ("B", "kB", "MB", "GB", "TB")


def number(value: float | None) -> str:
    """Four significant digits."""
    return UNKNOWN if value is None else f"{value:.4g}"


def size(byte_count: int | None) -> str:
    """Bytes in the decimal unit that leaves one to three digits before the point."""
    if byte_count is None:
        return UNKNOWN
    amount, unit = float(byte_count), 0
    while amount >= 999.5 and unit + 1 < len(_UNITS):
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """The two largest units of a length of time: 1 d 3 h, 2 h 13 min, 4 min 10 s, 8 s."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d", f"{hours} h", f"{minutes} min", f"{rest} s"]
    first = next((index for index, part in enumerate(parts) if not part.startswith("0 ")), 3)
    return " ".join(part for part in parts[first : first + 2] if part[:2] != "0 ") or "0 s"


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Seconds from one ISO 8601 time to another; None where one is missing."""
    if not start or not end:
        return None
    from datetime import datetime

    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def moment(time: str | None) -> str:
    """An ISO 8601 time to the second, with its zone."""
    if not time:
        return UNKNOWN
    from datetime import datetime

    return datetime.fromisoformat(time).isoformat(timespec="seconds")


def epoch_of_run(run: Mapping[str, Any]) -> str:
    """The running epoch of a run that trains, the finished ones of any other, of the most it may take: 12/400."""
    finished, most = run["epoch"], run.get("max_epochs")
    shown = finished + 1 if run["state"] in ("running", "stopping", "pausing") else finished
    return f"{min(shown, most)}/{most}" if most else str(shown)


def best_of_run(run: Mapping[str, Any]) -> str:
    """What the run's monitor has reached, and when: val_loss 0.0123 at epoch 280."""
    monitor = run.get("monitor")
    if not monitor or monitor.get("best") is None:
        return UNKNOWN
    return f"{monitor['name']} {number(monitor['best'])} at epoch {monitor['best_epoch']}"


def stall_of_run(run: Mapping[str, Any]) -> str:
    """How long a stalled run's trainer has shown no sign of life, and in what: stalled for 34 s in validation."""
    phase = (run.get("live") or {}).get("phase")
    return f"stalled for {duration(run.get('beat_age_seconds'))}" + (f" in {phase}" if phase else "")


def block_of_run(run: Mapping[str, Any]) -> str:
    """What a blocked run waits for: disk full: 3.1 MB free, needs 12 MB."""
    block = run["blocked"]
    needed = f", needs {size(block['needed_bytes'])}" if block["needed_bytes"] else ""
    return f"disk full: {size(block['free_bytes'])} free{needed}"


def exactness_of_run(run: Mapping[str, Any]) -> str | None:
    """How truly the run has gone on after its interruptions; None where it never had to."""
    exactness = run.get("exactness")
    return exactness and str(exactness).replace("_", " ")
