"""What a command does: `apply_command` turns it into the records it changes, the orders it gives and its answer. Pure.

A new verb is one row of `_VERBS` and one function. What is legal stands in contracts.states.ORDERS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import Finding, NoSuchRun, NotAllowed, SpecificationRefused, TrainerdError, describe
from trainerd.contracts.pages import Order
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, Reason, State, Verb, explain_refusal, next_state
from trainerd.supervisor.gpus import gpus_needed


@dataclass(frozen=True)
class Situation:
    """What the decision rests on beside the command."""

    look_up: Callable[[int], RunRecord | None]
    was_admitted: Callable[[int], bool]  # the run's directory exists: this command is being applied again
    gpu_count: int  # that runs may have at all
    newest_proven: int = 0  # number of the newest command that a run directory shows to have been applied


@dataclass(frozen=True)
class Birth:
    """A new run: its record, and the text of its spec.yaml."""

    record: RunRecord
    spec_yaml: str


@dataclass(frozen=True)
class Effects:
    """What a command does to the world; `problem` says why it does nothing."""

    born: tuple[Birth, ...] = ()
    changed: tuple[RunRecord, ...] = ()
    orders: tuple[tuple[int, Order], ...] = ()  # (run, what its trainer is asked for)
    problem: dict[str, Any] | None = None


def apply_command(command: Command, situation: Situation) -> Effects:
    """The effects of one command: all of it, or a problem and nothing."""
    try:
        return _VERBS[command.kind](command, situation)
    except TrainerdError as refusal:
        return Effects(problem=describe(refusal))


def _submit(command: Command, situation: Situation) -> Effects:
    """One that is applied again comes out as it was: admitted are the runs that have a directory, all else is not.

    A submit that is older than one which was applied has had its turn: without a directory it was refused.
    """
    births = tuple(_birth(run, command) for run in command.body["runs"])
    if command.number <= situation.newest_proven:
        births = tuple(birth for birth in births if situation.was_admitted(birth.record.id))
        if not births:
            raise NotAllowed("it was refused when it was given, or its run directory is gone; submit it again")
    ids = {birth.record.id for birth in births}
    for birth in births:
        if not situation.was_admitted(birth.record.id):
            _refuse_what_can_never_start(birth.record, ids, situation)
    return Effects(born=births)


def _birth(run: dict[str, Any], command: Command) -> Birth:
    record = RunRecord(
        id=run["id"],
        name=run["name"],
        state=State.HELD if run["hold"] else State.QUEUED,
        owner=run["owner"],
        priority=run["priority"],
        place=run["id"],  # first come, first served
        after=run["after"],
        created_at=command.time,
        spec=run["spec"],
    )
    return Birth(record, run["spec_yaml"])


def _refuse_to_wait_in_vain(after: int, situation: Situation) -> None:
    awaited = situation.look_up(after)
    if awaited is None:
        raise NoSuchRun(str(after))
    if awaited.state in ENDED and awaited.state is not State.COMPLETED:
        raise NotAllowed(f"run {after} is {awaited.state}: what waits for it to complete can never start")


def _refuse_what_can_never_start(record: RunRecord, submitted_with: set[int], situation: Situation) -> None:
    if record.after is not None and record.after not in submitted_with:
        _refuse_to_wait_in_vain(record.after, situation)
    needed = gpus_needed(record.spec, situation.gpu_count)
    if needed > situation.gpu_count:
        expected = f"at most {situation.gpu_count}"
        finding = Finding("more GPUs than there are", key="resources.gpus", expected=expected, found=str(needed))
        raise SpecificationRefused([finding])


def _stop(command: Command, situation: Situation) -> Effects:
    record = _run_of(command, situation)
    order = Order.STOP if command.body.get("checkpoint", True) else Order.STOP_WITHOUT_CHECKPOINT
    moved = _moved(record, Verb.STOP, command)
    return Effects(changed=(moved,), orders=((record.id, order),) if moved.state in LIVE else ())


def _cancel(command: Command, situation: Situation) -> Effects:
    return Effects(changed=(_moved(_run_of(command, situation), Verb.CANCEL, command),))


def _run_of(command: Command, situation: Situation) -> RunRecord:
    record = situation.look_up(command.body["run"])
    if record is None:
        raise NoSuchRun(str(command.body["run"]))
    return record


# What is true of a run that an order ends by itself, because it has no trainer.
_REASONS: dict[State, Reason] = {State.STOPPED: Reason.USER_STOP, State.CANCELLED: Reason.CANCELLED}


def _moved(record: RunRecord, verb: Verb, command: Command) -> RunRecord:
    """The record after a legal order. Raises NotAllowed, naming what is legal."""
    state = next_state(verb, record.state)
    if state is None:
        raise NotAllowed(explain_refusal(verb, str(record.id), record.state))
    if state in _REASONS:
        return record.updated(state=state, reason=_REASONS[state], ended_at=command.time, retry_at=None)
    return record.updated(state=state)


_VERBS: dict[CommandKind, Callable[[Command, Situation], Effects]] = {
    CommandKind.SUBMIT: _submit,
    CommandKind.STOP: _stop,
    CommandKind.CANCEL: _cancel,
}
