"""What `move` does: a waiting run gets another priority, or another place among those that wait. Pure.

Places stay what they are, one number per run: they are dealt anew among the runs of one priority.
"""

from __future__ import annotations

from trainerd.contracts.commands import Command
from trainerd.contracts.errors import NotAllowed
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import WAITING, Verb, explain_refusal, next_state
from trainerd.supervisor.effects import Effects, Situation, existing_run, run_of


def move(command: Command, situation: Situation) -> Effects:
    """The run has the wanted priority, comes first of all that wait, or just before another one that waits."""
    record = run_of(command, situation)
    if next_state(Verb.MOVE, record.state) is None:
        raise NotAllowed(explain_refusal(Verb.MOVE, str(record.id), record.state))
    if command.body.get("priority") is not None:
        return Effects(changed=(record.updated(priority=command.body["priority"]),))
    others = sorted(
        (run for run in situation.waiting() if run.id != record.id), key=lambda run: (-run.priority, run.place, run.id)
    )
    if command.body.get("before") is not None:
        return _place_before(record, _target(record, command.body["before"], situation), others)
    is_first = not others or record.priority > others[0].priority
    return Effects(changed=(record,)) if is_first else _place_before(record, others[0], others)


def _target(record: RunRecord, before: int, situation: Situation) -> RunRecord:
    target = existing_run(before, situation)
    if target.id == record.id:
        raise NotAllowed(f"run {record.id} cannot be moved before itself")
    if target.state not in WAITING:
        raise NotAllowed(f"cannot move run {record.id} before run {target.id}: it does not wait, it is {target.state}")
    return target


def _place_before(record: RunRecord, target: RunRecord, others: list[RunRecord]) -> Effects:
    """Deal the places of the run and of all with the target's priority anew, the run just before the target."""
    group = [run for run in others if run.priority == target.priority]
    index = [run.id for run in group].index(target.id)
    order = [*group[:index], record.updated(priority=target.priority), *group[index:]]
    places = sorted(run.place for run in order)
    dealt = [run.updated(place=place) for run, place in zip(order, places, strict=True)]
    others_moved = tuple(run for run in dealt if run.id != record.id and run not in group)
    moved = next(run for run in dealt if run.id == record.id)
    return Effects(changed=(*others_moved, moved))
