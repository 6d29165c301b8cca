"""What a command does: `apply_command` turns it into the records it changes, the orders it gives and its answer. Pure.

A new verb is one row of `_VERBS` and one function: here what is asked of a run that lives or waits, elsewhere what
makes runs (`admitting`), has them go on (`going_on`) and orders the queue (`queue_order`). What is legal stands in
contracts.states.ORDERS.
"""

from __future__ import annotations

from collections.abc import Callable

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import NotAllowed, TrainerdError, describe
from trainerd.contracts.pages import Order
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, Reason, State, Verb, explain_refusal, next_state
from trainerd.supervisor.admitting import submit
from trainerd.supervisor.effects import Birth, Effects, Situation, run_of
from trainerd.supervisor.going_on import resume, retry
from trainerd.supervisor.orders import number_of_order
from trainerd.supervisor.queue_order import move

__all__ = ["Birth", "Effects", "Situation", "apply_command"]


def apply_command(command: Command, situation: Situation) -> Effects:
    """The effects of one command: all of it, or a problem and nothing."""
    if _is_of_the_past(command, situation):
        return Effects()
    try:
        return _VERBS[command.kind](command, situation)
    except TrainerdError as refusal:
        return Effects(problem=describe(refusal))


def _is_of_the_past(command: Command, situation: Situation) -> bool:
    """Whether it is applied again, and its run has been removed since, or by it.

    Nobody can tell any more why it should have been refused; only a removal that did not remove the run was.
    """
    run_id = command.body.get("run")
    if run_id is None or situation.look_up(run_id) is not None:
        return False
    removed_by = situation.removed_by(run_id) or 0
    return removed_by == command.number or (removed_by > command.number and command.kind is not CommandKind.REMOVE)


def _pause(command: Command, situation: Situation) -> Effects:
    """A trainer that has not begun has nothing to save: it is killed, and its run held."""
    record = run_of(command, situation)
    moved = _moved(record, Verb.PAUSE, command)
    if record.state is State.STARTING:
        return Effects(changed=(moved.updated(kill_ordered=True),))
    return Effects(changed=(moved,), orders=((record.id, Order.PAUSE),) if moved.state in LIVE else ())


def _stop(command: Command, situation: Situation) -> Effects:
    record = run_of(command, situation)
    order = Order.STOP if command.body.get("checkpoint", True) else Order.STOP_WITHOUT_CHECKPOINT
    moved = _moved(record, Verb.STOP, command).updated(kill_ordered=False)
    return Effects(changed=(moved,), orders=((record.id, order),) if moved.state in LIVE else ())


def _kill(command: Command, situation: Situation) -> Effects:
    """The worker host is told by agreement: nothing is asked of the trainer."""
    return Effects(changed=(_moved(run_of(command, situation), Verb.KILL, command).updated(kill_ordered=True),))


def _cancel(command: Command, situation: Situation) -> Effects:
    return Effects(changed=(_moved(run_of(command, situation), Verb.CANCEL, command),))


def _checkpoint(command: Command, situation: Situation) -> Effects:
    record = _moved(run_of(command, situation), Verb.CHECKPOINT, command)
    ordered = record.updated(pending_checkpoint=number_of_order(command.number))
    return Effects(changed=(ordered,), orders=((record.id, Order.CHECKPOINT),))


def _remove(command: Command, situation: Situation) -> Effects:
    """One that is older than a command that is proven to have been applied, and has removed nothing, was refused.

    It stays so whatever the run has come to in a state that is folded anew: nothing is ever deleted by mistake.
    """
    run_id = command.body["run"]
    record = _moved(run_of(command, situation), Verb.REMOVE, command)
    if command.number <= situation.newest_proven and situation.removed_by(run_id) != command.number:
        raise NotAllowed(f"cannot remove run {run_id}: this order was refused when it was given")
    dependents = sorted(run.id for run in situation.waiting() if run.after == run_id and run.waits_for_another)
    if dependents:
        names = ", ".join(str(dependent) for dependent in dependents)
        raise NotAllowed(f"cannot remove run {run_id}: run {names} waits for it; cancel that first")
    return Effects(removed=(record.id,))


# What is true of a run that an order ends by itself, because it has no trainer.
_REASONS: dict[State, Reason] = {State.STOPPED: Reason.USER_STOP, State.CANCELLED: Reason.CANCELLED}


def _moved(record: RunRecord, verb: Verb, command: Command) -> RunRecord:
    """The record after a legal order. Raises NotAllowed, naming what is legal."""
    state = next_state(verb, record.state)
    if state is None:
        raise NotAllowed(explain_refusal(verb, str(record.id), record.state))
    if state is record.state or state in LIVE:
        return record.updated(state=state)
    if state in _REASONS:
        return record.updated(
            state=state, reason=_REASONS[state], ended_at=command.time, retry_at=None, pending_checkpoint=None
        )
    return record.updated(state=state, reason=None, retry_at=None)


_VERBS: dict[CommandKind, Callable[[Command, Situation], Effects]] = {
    CommandKind.SUBMIT: submit,
    CommandKind.PAUSE: _pause,
    CommandKind.RESUME: resume,
    CommandKind.CHECKPOINT: _checkpoint,
    CommandKind.STOP: _stop,
    CommandKind.KILL: _kill,
    CommandKind.CANCEL: _cancel,
    CommandKind.RETRY: retry,
    CommandKind.REMOVE: _remove,
    CommandKind.MOVE: move,
}
