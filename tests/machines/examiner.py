"""What must be true of every decision and of every state of a run, without a word on how it is brought about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from tests.machines.simulated_trainer import SimulatedTrainer
from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.journal import Event
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, WAITING, Reason, State, Verb, next_state
from trainerd.supervisor import command_desk, journal_folding
from trainerd.supervisor.apply import Effects, Situation, apply_command
from trainerd.supervisor.fold import fold_event

# What may become of a run by what happens in it. All else takes an order, a start, or a dependency that failed.
FOLD_MOVES: Mapping[State, frozenset[State]] = {
    State.HELD: frozenset({State.CANCELLED}),  # where a supervisor has written that, and died before it could commit
    State.QUEUED: frozenset({State.CANCELLED}),
    State.STARTING: frozenset({State.RUNNING, State.RETRYING, State.FAILED, State.INTERRUPTED, State.BLOCKED}),
    State.RUNNING: frozenset({State.COMPLETED, State.FAILED, State.RETRYING, State.INTERRUPTED, State.BLOCKED}),
    State.PAUSING: frozenset({State.PAUSED, State.HELD, State.COMPLETED, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED, State.COMPLETED, State.FAILED}),
}
# What an applied order has promised until the next one that is applied: the states in which the run may be seen.
PROMISES: Mapping[Verb, frozenset[State]] = {
    Verb.PAUSE: frozenset({State.PAUSING, State.PAUSED, State.HELD, State.COMPLETED, State.FAILED, State.CANCELLED}),
    Verb.STOP: frozenset({State.STOPPING, State.STOPPED, State.COMPLETED, State.FAILED, State.CANCELLED}),
    Verb.KILL: frozenset({State.STOPPING, State.STOPPED, State.COMPLETED, State.FAILED}),
    Verb.CANCEL: frozenset({State.CANCELLED}),
}
# Which orders may stand behind a reason or a state, as the newest one that was applied.
REASON_NEEDS: Mapping[Reason, frozenset[Verb]] = {
    Reason.USER_STOP: frozenset({Verb.STOP, Verb.KILL}),
    Reason.KILLED: frozenset({Verb.KILL}),
    Reason.CANCELLED: frozenset({Verb.CANCEL, Verb.STOP}),
}
STATE_NEEDS: Mapping[State, frozenset[Verb]] = {
    State.PAUSING: frozenset({Verb.PAUSE}),
    State.PAUSED: frozenset({Verb.PAUSE}),
    State.STOPPING: frozenset({Verb.STOP, Verb.KILL}),
    State.STOPPED: frozenset({Verb.STOP, Verb.KILL}),
}
FORGOTTEN: Mapping[str, Any] = {  # what is no longer true of a run that goes on by order
    **dict.fromkeys(("reason", "error", "ended_at", "exit_code", "signal", "retry_at", "accepted_data")),
    "failures": 0,
}
_CHANGE_NO_STATE = frozenset({Verb.CHECKPOINT, Verb.MOVE})


class Examiner:
    """Looks at each decision as it is taken, and remembers what was promised."""

    def __init__(self) -> None:
        self.admitted: set[int] = set()
        self.removed: set[int] = set()
        self.newest_order: dict[int, Verb] = {}  # the newest applied one that moves the run
        self.replays = False  # the state is folded anew: what is decided then was examined before
        self._attempts: dict[int, int] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(command_desk, "apply_command", self._apply))
            stack.enter_context(mock.patch.object(journal_folding, "fold_event", self._fold))
            yield

    def check_records(self, records: list[RunRecord]) -> None:
        """Whether this state of all runs may be."""
        assert {run.id for run in records} == self.admitted - self.removed, "a run is lost, doubled or came back"
        places = [run.place for run in records]
        assert len(places) == len(set(places)), f"two runs have one place: {places}"
        for run in records:
            self._check_record(run)

    def check_trainers(self, records: list[RunRecord], trainers: Mapping[int, SimulatedTrainer]) -> None:
        """Whether what was ordered has reached those whom it is for, now that the supervisor has had its turn."""
        for run in records:
            trainer = trainers.get(run.id)
            if trainer is None or not trainer.lives or trainer.has_said_its_last_word:
                continue
            newest = self.newest_order.get(run.id)
            assert newest is not Verb.KILL, f"was killed, and its trainer lives: {run}"
            assert newest not in (Verb.PAUSE, Verb.STOP) or trainer.is_asked_to_end(), f"its trainer goes on: {run}"
            number = run.pending_checkpoint or 0
            assert trainer.is_asked_for_checkpoint(number), f"its trainer knows of no order for a checkpoint: {run}"

    def _check_record(self, run: RunRecord) -> None:
        has_ended = run.state in ENDED
        assert (run.reason is not None) == (has_ended or run.state is State.BLOCKED), f"reason {run.reason}: {run}"
        assert (run.ended_at is not None) == has_ended, f"end {run.ended_at}: {run}"
        assert run.pid is None or run.state in LIVE, f"a PID without a trainer: {run}"
        assert not run.gpus or run.state in LIVE, f"GPUs without a trainer: {run}"
        assert not run.kill_ordered or run.state in LIVE, f"a kill is still due: {run}"
        assert run.retry_at is None or run.state in (State.RETRYING, State.BLOCKED), f"a retry is still due: {run}"
        assert run.pending_checkpoint is None or run.state not in ENDED, f"a checkpoint is still due: {run}"
        assert run.attempt >= self._attempts.get(run.id, 0), f"attempts fell from {self._attempts[run.id]}: {run}"
        self._attempts[run.id] = run.attempt
        if run.after not in self.removed:  # else a retry may be forgotten with the run that it rested on
            self._check_promise(run)

    def _check_promise(self, run: RunRecord) -> None:
        newest = self.newest_order.get(run.id)
        allowed = PROMISES.get(newest) if newest else None
        assert allowed is None or run.state in allowed, f"{newest} was applied: {run}"
        assert run.state not in STATE_NEEDS or newest in STATE_NEEDS[run.state], f"{newest} was applied: {run}"
        assert run.reason not in REASON_NEEDS or newest in REASON_NEEDS[run.reason], f"{newest} was applied: {run}"

    def _apply(self, command: Command, situation: Situation) -> Effects:
        effects = apply_command(command, situation)
        if not self.replays:
            self._examine(command, effects, situation)
        return effects

    def _examine(self, command: Command, effects: Effects, situation: Situation) -> None:
        if effects.problem is not None:
            assert effects == Effects(problem=effects.problem), f"refused, and not without effect: {effects}"
            assert command.kind is CommandKind.SUBMIT or may_be_refused(command, situation), f"refused: {effects}"
        elif command.kind is CommandKind.SUBMIT:
            assert [birth.record.id for birth in effects.born] == [run["id"] for run in command.body["runs"]]
            self.admitted |= {birth.record.id for birth in effects.born}
        else:
            self._examine_order(command, effects, situation)

    def _examine_order(self, command: Command, effects: Effects, situation: Situation) -> None:
        verb, run_id = Verb(command.kind), command.body["run"]
        before = situation.look_up(run_id)
        assert before is not None, f"{verb} was applied to a run that there is not"
        expected = next_state(verb, before.state)
        assert expected is not None, f"{verb} was applied in state {before.state}"
        after = next((record for record in effects.changed if record.id == run_id), before)
        assert after.state is expected, f"{verb} led from {before.state} to {after.state}"
        others = [record for record in effects.changed if record.id != run_id]
        assert not others or verb is Verb.MOVE, f"{verb} of run {run_id} changes {others}"
        for other in others:
            now = situation.look_up(other.id)
            assert now is not None
            assert now.updated(place=other.place) == other, f"moving run {run_id} changes more than a place: {other}"
        if verb in (Verb.RESUME, Verb.RETRY):
            spec = command.body["spec"] or before.spec
            assert after == before.updated(state=State.QUEUED, name=after.name, spec=spec, **FORGOTTEN), after
        if verb is Verb.REMOVE:
            self.removed.add(run_id)
        elif verb not in _CHANGE_NO_STATE:
            self.newest_order[run_id] = verb

    def _fold(self, record: RunRecord, line: Mapping[str, Any]) -> RunRecord:
        after = fold_event(record, line)
        assert after.attempt >= record.attempt, f"{line} takes an attempt back: {record}"
        obeys = line["event"] == Event.CHECKPOINT and (line["order"] or 0) >= (record.pending_checkpoint or 0)
        is_settled = obeys or after.state in ENDED or after.pending_checkpoint == record.pending_checkpoint
        assert is_settled or line["event"] == Event.STARTING, f"{line} obeys no order for a checkpoint: {record}"
        if not self.replays and line["event"] != Event.STARTING:
            assert after.attempt == record.attempt, f"{line} is of an attempt that nobody ordered: {record}"
            moves = FOLD_MOVES.get(record.state, frozenset())
            assert after.state is record.state or after.state in moves, f"{line}: {record.state} -> {after.state}"
        return after


def may_be_refused(command: Command, situation: Situation) -> bool:
    """Whether there is a reason to refuse an order: the table, or what the table cannot say."""
    verb, run = Verb(command.kind), situation.look_up(command.body["run"])
    if run is None or next_state(verb, run.state) is None:
        return True
    if verb in (Verb.RESUME, Verb.RETRY) and wants_too_much(command):
        return True
    if verb is Verb.RESUME:
        return run.state is not State.HELD and run.attempt > 0 and run.checkpoint_step is None
    if verb is Verb.RETRY:
        return run.state is State.CANCELLED and run.after is not None and not may_complete(run.after, situation)
    if verb is Verb.MOVE and command.body.get("before"):
        other = situation.look_up(command.body["before"])
        return other is None or other.state not in WAITING or other.id == run.id
    return verb is Verb.REMOVE  # where a waiting run has `after` = it, which the situation alone cannot tell


def wants_too_much(command: Command) -> bool:
    spec = command.body.get("spec")
    return bool(spec) and spec["resources"]["gpus"] > 2


def may_complete(run_id: int, situation: Situation) -> bool:
    run = situation.look_up(run_id)
    return run is not None and (run.state not in ENDED or run.state is State.COMPLETED)
