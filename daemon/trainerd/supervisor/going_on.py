"""What `resume` and `retry` do: a run that waits, was stopped or has failed goes back to its old place. Pure."""

from __future__ import annotations

from trainerd.contracts.commands import Command
from trainerd.contracts.errors import NoSuchRun, NotAllowed
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State, Verb, explain_refusal, next_state
from trainerd.supervisor.effects import Effects, Situation, refuse_to_wait_in_vain, refuse_too_many_gpus, run_of


def resume(command: Command, situation: Situation) -> Effects:
    """The run goes on from its newest checkpoint, or begins if it never has. Nothing ever starts anew in silence."""
    record = run_of(command, situation)
    _refuse_unless_legal(record, Verb.RESUME)
    if record.lacks_checkpoint:
        raise NotAllowed(
            f"run {record.id} has trained but has no checkpoint to go on from; "
            f"start it anew with: trainctl retry --from-start {record.id}"
        )
    return _go_on(record, command, situation)


def retry(command: Command, situation: Situation) -> Effects:
    """The run is tried again with a fresh budget of failures: from its newest checkpoint, or from the start."""
    record = run_of(command, situation)
    _refuse_unless_legal(record, Verb.RETRY)
    if record.waits_for_another and not situation.was_carried_out(command):
        assert record.after is not None
        _refuse_what_waits_in_vain(record.id, record.after, situation)
    return _go_on(record, command, situation)


def _refuse_unless_legal(record: RunRecord, verb: Verb) -> None:
    if next_state(verb, record.state) is None:
        raise NotAllowed(explain_refusal(verb, str(record.id), record.state))


def _refuse_what_waits_in_vain(run_id: int, after: int, situation: Situation) -> None:
    try:
        refuse_to_wait_in_vain(after, situation)
    except NoSuchRun as gone:
        raise NotAllowed(f"run {run_id} waits for run {after} to complete, which is gone") from gone


def _go_on(record: RunRecord, command: Command, situation: Situation) -> Effects:
    spec = command.body.get("spec") or record.spec
    if command.number > situation.newest_proven:  # the machine may have lost a GPU since it was allowed
        refuse_too_many_gpus(spec, situation)
    queued = record.updated(
        state=State.QUEUED,
        name=spec.get("name", record.name),
        spec=spec,
        reason=None,
        error=None,
        ended_at=None,
        exit_code=None,
        signal=None,
        retry_at=None,
        failures=0,
        accepted_data=command.body.get("accepted_data"),
    )
    text = command.body.get("spec_yaml")
    return Effects(changed=(queued,), specs=((record.id, text),) if text is not None else ())
