"""Which run is meant where none is named."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from trainctl.daemon import Daemon
from trainerd.contracts.errors import UsageError
from trainerd.contracts.states import WAITING, State, Verb, next_state

LATEST = "latest"

Json = dict[str, Any]


def runs_to_watch(daemon: Daemon, named: Sequence[str]) -> list[str]:
    """The named runs; else the only active one; else, where nothing is active, the newest."""
    return list(named) or [_only(daemon.status()["active"], "active") or LATEST]


def runs_to_order(daemon: Daemon, named: Sequence[str]) -> list[str]:
    """The named runs, else the only active one. Raises UsageError where there is not exactly one."""
    return list(named) or [_only(daemon.status()["active"], "active") or _nothing("active")]


def runs_to_cancel(daemon: Daemon, named: Sequence[str]) -> list[str]:
    """The named runs, else the only one that waits. Raises UsageError where there is not exactly one."""
    if named:
        return list(named)
    waiting = [run for run in daemon.status()["queue"] if run["state"] in WAITING]
    return [_only(waiting, "waiting") or _nothing("waiting")]


def runs_that_permit(daemon: Daemon, verb: Verb, states: Container[State]) -> list[str]:
    """Every run in one of `states` whose state permits `verb`, oldest first."""
    permitted = [run for run in daemon.runs() if run["state"] in states and next_state(verb, State(run["state"]))]
    return [str(run["id"]) for run in reversed(permitted)]


def _only(candidates: Sequence[Json], what: str) -> str | None:
    if len(candidates) > 1:
        named = ", ".join(f"{run['id']} ({run['name']})" for run in candidates)
        raise UsageError(f"several runs are {what}: {named}; name one of them")
    return str(candidates[0]["id"]) if candidates else None


def _nothing(what: str) -> str:
    raise UsageError(f"no run is {what}; name one (trainctl list shows them)")
