"""The whole life of runs, in any order: people order anything of any run, and anything dies at any moment.

What must be true stands in `examiner`; what the world is made of in `simulated_world`. Here is only what may happen.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.machines.examiner import Examiner
from tests.machines.simulated_world import DUTIES, SimulatedWorld
from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.journal import Event, Line, read_journal
from trainerd.contracts.outcome import read_outcome
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, State, legal_verbs
from trainerd.supervisor import attempt_end


@dataclass(frozen=True)
class Wish:
    """An order to be, of a run whose state nobody knows yet: mostly for something that is legal then."""

    run: int
    is_legal: bool
    choice: int
    spec: dict[str, Any] | None  # the changed one, where a run goes on
    other: int  # a run

    def as_order(self, state: State | None) -> tuple[CommandKind, dict[str, Any]]:
        """What it comes to in a state, and the rest of its body."""
        legal = [CommandKind(verb) for verb in legal_verbs(state)] if state and self.is_legal else ORDERED
        rest, place = divmod(self.choice, len(legal))
        kind = legal[place]
        if kind is CommandKind.STOP:
            return kind, {"checkpoint": bool(rest % 2)}
        if kind is CommandKind.MOVE:
            nowhere = {"priority": None, "first": False, "before": None}
            return kind, {**nowhere, **({"priority": rest - 2}, {"first": True}, {"before": self.other})[rest % 3]}
        if kind in (CommandKind.RESUME, CommandKind.RETRY):
            text = None if self.spec is None else json.dumps(self.spec)
            return kind, {"request": "", "spec": self.spec, "spec_yaml": text, "accepted_data": None}
        return kind, {}


MEMORY = Path("/dev/shm")  # fsync costs nothing there
MOST_SUBMITS = 4
RUNS = st.sampled_from([1, 1, 1, 2, 2, 2, 3, 3, 4, 5])
ORDERED = [kind for kind in CommandKind if kind is not CommandKind.SUBMIT]
HOST_ACTIONS = ("begin_waiting", "begin_waiting", "reap", "reap", "die", "start")
TRAINER_ACTIONS = (
    *("work", "work", "take_step", "save", "receive_sigterm", "finish", "fail", "raise_an_error", "meet_a_full_disk"),
    "die",
)
SPECS = st.builds(
    lambda gpus, max_failures: {
        "resources": {"gpus": gpus, "cpus": 1},
        "trainer": {"device": "auto"},
        "retry": {"max_failures": max_failures, "backoff_seconds": 0.0},
    },
    st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2]),
    st.sampled_from([2, 3]),
)
SUBMISSIONS = st.fixed_dictionaries(
    {
        "spec": SPECS,
        "priority": st.integers(-1, 1),
        "after": st.sampled_from([None, None, None, None, 1, 2, 3]),
        "hold": st.sampled_from([False, False, False, True]),
    }
)
WISHES = st.builds(
    Wish, RUNS, st.sampled_from([True, True, True, False]), st.integers(0, 53), st.none() | st.none() | SPECS, RUNS
)
A_TRAINERS_TURN = st.tuples(RUNS, st.sampled_from(TRAINER_ACTIONS))
NOT_SEEN_BY_USERS = {"settled_order", "failures", "killed_by_daemon"}
# Of the runs on which it rested some may have been removed since: one that was refused may be answered otherwise then.
RESTS_ON_OTHER_RUNS = {CommandKind.MOVE}


class LifeMachine(RuleBasedStateMachine):
    """Several clients, two slots, two GPUs, and a machine on which everything dies."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-", dir=MEMORY if MEMORY.is_dir() else None))
        self.examiner = Examiner()
        self.watch = self.examiner.watching()
        self.watch.__enter__()
        self.world = SimulatedWorld(self.folder)
        self.commands: list[Command] = []

    @initialize(runs=st.lists(SUBMISSIONS, min_size=2, max_size=3), moves=st.integers(0, 3))
    def somebody_has_submitted(self, runs: list[dict[str, Any]], moves: int) -> None:
        """So that there is something to give orders about, and perhaps under way."""
        for run in runs:
            self.somebody_submits([run], twice=False)
        for _ in range(moves):
            self.everything_moves_on(1)

    @precondition(lambda self: sum(command.kind is CommandKind.SUBMIT for command in self.commands) < MOST_SUBMITS)
    @rule(runs=st.lists(SUBMISSIONS, min_size=1, max_size=2), twice=st.booleans())
    def somebody_submits(self, runs: list[dict[str, Any]], twice: bool) -> None:
        key = self.new_key()
        self.commands.append(self.world.submit(runs, key))
        if twice:
            assert self.world.submit(runs, key) == self.commands[-1]

    @rule(wish=WISHES)
    def somebody_orders(self, wish: Wish) -> None:
        states = {run.id: run.state for run in self.world.records()}
        kind, details = wish.as_order(states.get(wish.run))
        self.commands.append(self.world.order(kind, wish.run, self.new_key(), **details))

    @rule(wish=WISHES)
    def somebody_orders_and_is_answered(self, wish: Wish) -> None:
        self.somebody_orders(wish)
        self.supervisor_ticks()

    @rule()
    def supervisor_ticks(self) -> None:
        self.world.tick()
        self.check()

    @rule(duty=st.sampled_from(DUTIES), turn=A_TRAINERS_TURN)
    def a_trainer_acts_in_a_tick(self, duty: str, turn: tuple[int, str]) -> None:
        self.world.tick(duty, lambda: self.a_trainer_acts(turn))
        self.check()

    @rule(duty=st.sampled_from(DUTIES), wish=WISHES)
    def somebody_orders_in_a_tick(self, duty: str, wish: Wish) -> None:
        self.world.tick(duty, lambda: self.somebody_orders(wish))
        self.check()

    @rule(times=st.integers(1, 3))
    def everything_moves_on(self, times: int) -> None:
        for _ in range(times):
            self.world.move_on()
            self.check()

    @rule(turn=A_TRAINERS_TURN)
    def a_trainer_acts(self, turn: tuple[int, str]) -> None:
        run, action = turn
        if trainer := self.world.host.trainers.get(run):
            getattr(trainer, action)()

    @rule(action=st.sampled_from(HOST_ACTIONS))
    def host_acts(self, action: str) -> None:
        getattr(self.world.host, action)()

    @rule(duty=st.sampled_from(DUTIES))
    def supervisor_is_killed(self, duty: str) -> None:
        self.world.kill_supervisor(duty)
        self.supervisor_ticks()

    @rule(grace_seconds=st.sampled_from([None, None, 0.0, 10.0]))
    def daemon_goes_down_or_loses_its_state(self, grace_seconds: float | None) -> None:
        if grace_seconds is None:
            self.world.tick()
            self.world.tick()
            self.check()
            self.compare_with_rebuilt()
        else:
            self.world.go_down_and_up(grace_seconds)
        self.supervisor_ticks()

    def teardown(self) -> None:
        try:
            self.world.settle()
            self.check()
            self.check_rest()
            self.compare_with_rebuilt()
        finally:
            self.watch.__exit__(None, None, None)
            self.world.close()
            shutil.rmtree(self.folder)

    def check(self) -> None:
        records = self.world.records()
        self.examiner.check_records(records)
        self.examiner.check_trainers(records, self.world.host.trainers)

    def check_rest(self) -> None:
        """Nothing waits that could start, and every directory tells what the state tells."""
        runs = {run.id: run for run in self.world.records()}
        for run in runs.values():
            awaited = runs.get(run.after or 0)
            assert run.state is not State.QUEUED or (awaited and awaited.state is not State.COMPLETED), run
            directory = self.world.directory(run.id)
            assert json.loads(directory.spec.read_text()) == run.spec
            if run.state in ENDED:
                outcome = read_outcome(directory.outcome)
                assert (outcome.state, outcome.reason) == (run.state, run.reason), run
            last_words = [line.event["state"] for line in read_journal(directory.events) if says_how_it_ends(line)]
            assert run.state is not State.COMPLETED or last_words[-1:] == [State.COMPLETED], run
        assert {path.name for path in self.world.home.runs.glob("*") if path.is_dir()} == set(map(str, runs))

    def compare_with_rebuilt(self) -> None:
        """Lose the state: all that users see comes back."""
        before, answers = self.world.records(), self.world.answers()
        self.examiner.replays = True
        self.world.lose_state()
        self.examiner.replays = False
        rebuilt = {run.id: run for run in self.world.records()}
        assert sorted(rebuilt) == [run.id for run in before]
        for run in before:
            different = differences(run, rebuilt[run.id])
            assert not different, f"{different} of {run}"
        lasting = {command.number for command in self.commands if command.body.get("run") in rebuilt}
        of_others = {command.number for command in self.commands if command.kind in RESTS_ON_OTHER_RUNS}
        for was, now in zip(answers, self.world.answers(), strict=True):
            if was.number in lasting - of_others:
                assert (was.problem is None) is (now.problem is None), (was, now)

    def new_key(self) -> str:
        return f"key {len(self.commands)}"


def says_how_it_ends(line: Line) -> bool:
    return line.event.get("event") == Event.FINISHING


def differences(run: RunRecord, rebuilt: RunRecord) -> dict[str, tuple[Any, Any]]:
    """What users would see changed: by field, what was and what is."""
    seen = {field.name for field in fields(run)} - NOT_SEEN_BY_USERS
    pairs = {name: (getattr(run, name), getattr(rebuilt, name)) for name in sorted(seen)}
    return {name: (was, now) for name, (was, now) in pairs.items() if was != now}


@pytest.fixture(autouse=True)
def _blocked_runs_look_for_room_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_end, "_LOOK_FOR_ROOM_SECONDS", 0.0)


def run_sequences(count: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        LifeMachine,
        settings=settings(
            max_examples=count,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_order_and_no_death_leads_a_run_astray() -> None:
    run_sequences(500, steps=12)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_no_order_and_no_death_leads_a_run_astray_in_many_histories() -> None:
    run_sequences(10_000, steps=30)
