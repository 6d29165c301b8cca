"""What a submit does: all its runs are born, or none is. Pure."""

from __future__ import annotations

from typing import Any

from trainerd.contracts.commands import Command
from trainerd.contracts.errors import NotAllowed
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State
from trainerd.supervisor.effects import Birth, Effects, Situation, refuse_to_wait_in_vain, refuse_too_many_gpus


def submit(command: Command, situation: Situation) -> Effects:
    """One that is applied again comes out as it was: admitted are the runs that have a directory, all else is not.

    A submit that is older than one which was applied has had its turn: without a directory it was refused, or its runs
    have been removed since. The newest one that was applied may have been cut off between two births.
    """
    births = tuple(_birth(run, command) for run in command.body["runs"])
    if command.number < situation.newest_proven:
        return _as_it_was(births, situation)
    if command.number == situation.newest_proven:
        return Effects(born=tuple(birth for birth in births if situation.removed_by(birth.record.id) is None))
    ids = {birth.record.id for birth in births}
    for birth in births:
        if not situation.was_admitted(birth.record.id):
            _refuse_what_can_never_start(birth.record, ids, situation)
    return Effects(born=births)


def _as_it_was(births: tuple[Birth, ...], situation: Situation) -> Effects:
    there = tuple(birth for birth in births if situation.was_admitted(birth.record.id))
    if not there and not any(situation.removed_by(birth.record.id) for birth in births):
        raise NotAllowed("it was refused when it was given, or its run directory is gone; submit it again")
    return Effects(born=there)


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


def _refuse_what_can_never_start(record: RunRecord, submitted_with: set[int], situation: Situation) -> None:
    if record.after is not None and record.after not in submitted_with:
        refuse_to_wait_in_vain(record.after, situation)
    refuse_too_many_gpus(record.spec, situation)
