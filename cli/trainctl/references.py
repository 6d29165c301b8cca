"""Which runs are meant: the named ones, every one whose state permits the verb, or the only one that can be meant."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from trainctl.daemon import Daemon
from trainerd.contracts.errors import UsageError
from trainerd.contracts.states import ACTIVE, LEFT_OUT_OF_ALL, ORDERS, WAITING, State, Verb

LATEST = "latest"

Json = dict[str, Any]

_ACTIVE = (("active", ACTIVE),)
_WAITING = (("waiting", WAITING),)
# What a verb without an ID means: the only run of the first kind, or, if there is none, of the next.
IMPLIED: dict[Verb, tuple[tuple[str, frozenset[State]], ...]] = {
    Verb.PAUSE: _ACTIVE,
    Verb.RESUME: (("paused or held", frozenset({State.PAUSED, State.HELD})), ("stopped", frozenset({State.STOPPED}))),
    Verb.CHECKPOINT: _ACTIVE,
    Verb.STOP: _ACTIVE,
    Verb.KILL: _ACTIVE,
    Verb.CANCEL: _WAITING,
    Verb.RETRY: (("failed", frozenset({State.FAILED})),),
    Verb.REMOVE: (),  # what is gone for ever is named
    Verb.MOVE: _WAITING,
}


def runs_to_watch(daemon: Daemon, named: Sequence[str]) -> list[str]:
    """The named runs; else the only active one; else, where nothing is active, the newest."""
    return list(named) or [_id(_only(daemon.status()["active"], "active") or {"id": LATEST})]


def runs_to_wait_for(daemon: Daemon, named: Sequence[str]) -> list[str]:
    """The named runs, else the only active one. Raises UsageError where there is not exactly one."""
    return list(named) or [_id(_only(daemon.status()["active"], "active") or _nothing("active"))]


def implied_run(daemon: Daemon, verb: Verb) -> Json:
    """The only run that `verb` without an ID can mean. Raises UsageError where there is not exactly one."""
    for what, states in IMPLIED[verb]:
        if found := _only(runs_in(daemon, states), what):
            return found
    return _nothing(" or ".join(what for what, _ in IMPLIED[verb]))


def runs_that_permit(daemon: Daemon, verb: Verb) -> list[Json]:
    """Every run whose state permits `verb`, oldest first; without those that `--all` does not mean."""
    return runs_in(daemon, ORDERS[verb].keys() - LEFT_OUT_OF_ALL.get(verb, frozenset()))


def runs_in(daemon: Daemon, states: Collection[State]) -> list[Json]:
    """Every run in one of `states`, oldest first."""
    return list(reversed(daemon.runs(state=sorted(states))))


def _id(run: Json) -> str:
    return str(run["id"])


def _only(candidates: Sequence[Json], what: str) -> Json | None:
    if len(candidates) > 1:
        named = ", ".join(f"{run['id']} ({run['name']})" for run in candidates)
        raise UsageError(f"several runs are {what}: {named}; name one of them")
    return candidates[0] if candidates else None


def _nothing(what: str) -> Json:
    said = f"no run is {what}; name one" if what else "name the runs"
    raise UsageError(f"{said} (trainctl list shows them)")
