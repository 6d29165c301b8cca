"""Why a run is as it is, as one screen for people: the cause first, the next command last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainctl.figures import UNKNOWN, moment, number, size
from trainctl.run_report import describe_state
from trainctl.tables import draw_facts, draw_table

Json = dict[str, Any]

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 48
_STACK_LINES = 12


def describe_cause(answer: Json) -> list[str]:
    """The lines of `trainctl why`."""
    run = answer["run"]
    sections = [
        _cause(run, answer["warnings"]),
        _attempts(answer["attempts"]),
        _history(answer),
        _stacks(answer["stacks"]),
        _log(answer["log"]),
        _next(answer["next"]),
    ]
    filled = [section for section in sections if section]
    return [line for index, section in enumerate(filled) for line in [*([""] if index else []), *section]]


def _cause(run: Json, warnings: Sequence[Json]) -> list[str]:
    lines = [f"run {run['id']} ({run['name']}) is {describe_state(run)}, at step {run['step']}"]
    if run.get("error"):
        lines.append(f"  {run['error']}")
    return lines + [f"  {_warning(warning)}" for warning in warnings]


def _warning(event: Json) -> str:
    what = event.get("message") or event.get("why") or event["event"].replace("_", " ")
    return f"{moment(event['time'])}  " + (f"{event['path']}: {what}" if "path" in event else str(what))


def _attempts(attempts: Sequence[Json]) -> list[str]:
    if not attempts:
        return ["it has not started yet"]
    rows = [
        [
            str(each["attempt"]),
            each["state"],
            each["reason"] or UNKNOWN,
            str(each["step"]),
            moment(each["time"]),
            each["error"] or "",
        ]
        for each in attempts
    ]
    return draw_table(["ATTEMPT", "ENDED", "REASON", "STEP", "AT", "ERROR"], rows)


def _history(answer: Json) -> list[str]:
    memory = [point["resident_bytes"] for point in answer["vitals"] if point["resident_bytes"]]
    seconds = [epoch["seconds_per_step"] for epoch in answer["epochs"] if epoch["seconds_per_step"]]
    facts = []
    if memory:
        facts.append(
            ("memory", f"{draw_bars(memory)}  {size(min(memory))} to {size(max(memory))}, last {size(memory[-1])}")
        )
    if seconds:
        span = f"{number(min(seconds))} s to {number(max(seconds))} s, last {number(seconds[-1])} s"
        facts.append(("step time", f"{draw_bars(seconds)}  {span}"))
    return draw_facts(facts)


def draw_bars(values: Sequence[float]) -> str:
    """The values as bars between their smallest and their largest, the newest ones last."""
    shown = values[-_WIDTH:]
    low, high = min(shown), max(shown)
    if high == low:
        return _BARS[0] * len(shown)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in shown)


def _stacks(stacks: Json | None) -> list[str]:
    if not stacks:
        return []
    lines = stacks["lines"]
    return [f"its stacks ({stacks['path']}):", *(f"  {line}" for line in lines[-_STACK_LINES:])]


def _log(log: Json) -> list[str]:
    return [f"its last lines ({log['path']}):", *(f"  {line}" for line in log["lines"])] if log["lines"] else []


def _next(step: Json) -> list[str]:
    return [f"next: {step['command']}    ({step['advice']})"] if step["command"] else [f"next: {step['advice']}"]
