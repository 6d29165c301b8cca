"""The same orders on a live daemon, several clients at once, while its processes and trainers are killed.

When something happens is left to the machine it runs on, so a failure is not repeated by its sequence alone: the
message names the runs, and pytest keeps their directories.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.acceptance.live_daemon import LiveDaemon
from tests.machines.examiner import PROMISES
from tests.polling import poll
from trainctl.daemon import Daemon
from trainctl.problems import ReportedError
from trainerd.contracts.errors import ExitCode
from trainerd.contracts.states import ENDED, LIVE, State, Verb, next_state

Json = dict[str, Any]
SETTLES_SECONDS = 30.0
CONFIGURATION = """\
name: endless
data: {kind: synthetic, samples: 64, inputs: {shape: [4]}, targets: {shape: [1]}, batch_size: 16}
model: {name: mlp, args: {hidden: [4]}}
loss: {name: mse}
optimizer: {name: sgd, lr: 1e-3}
trainer: {max_epochs: 1000000, device: cpu}
checkpoint: {every_steps: 5000}
resources: {cpus: 1}
retry: {max_failures: 3, backoff_seconds: 0.1}
"""
AT_REST = ENDED | {State.PAUSED, State.HELD}  # nothing but an order brings a run out of these
MOVING = LIVE - {State.RUNNING} | {State.RETRYING, State.INTERRUPTED}
NO_DETAILS: Json = {}
DETAILS: dict[Verb, list[Json]] = {
    Verb.STOP: [{"checkpoint": True}, {"checkpoint": False}],
    Verb.RESUME: [{}, {}, {"overrides": ["optimizer.lr=2e-3"]}],
    Verb.MOVE: [{"first": True}, {"priority": 1}],
}
RUNS = st.integers(0, 2)  # the how manieth of this sequence
ORDERS = st.tuples(
    st.sampled_from(sorted(Verb)).flatmap(
        lambda verb: st.tuples(st.just(verb), st.sampled_from(DETAILS.get(verb, [NO_DETAILS])))
    ),
    RUNS,
)
PARTS = ("trainerd supervisor", "trainerd control")


class LiveMachine(RuleBasedStateMachine):
    """One sequence: three runs of its own in a daemon that has two slots."""

    daemon: LiveDaemon  # of all sequences

    def __init__(self) -> None:
        super().__init__()
        self.client = self.new_client()
        self.ids: list[int] = []
        self.removed: set[int] = set()
        self.said_to_be_gone: set[int] = set()

    @initialize(ends=st.lists(st.booleans(), min_size=3, max_size=3), hold=st.booleans())
    def somebody_submits(self, ends: list[bool], hold: bool) -> None:
        """Three runs: some would end by themselves, one may be held."""
        runs = [a_submission(self.daemon.home, ends=ends[0]), a_submission(self.daemon.home, ends=ends[1])]
        self.ids = submitted(self.client.submit(runs))
        self.ids += submitted(self.client.submit([a_submission(self.daemon.home, ends=ends[2], hold=hold)]))

    @rule(order=ORDERS)
    def somebody_orders(self, order: tuple[tuple[Verb, Json], int]) -> None:
        """Nobody else orders anything meanwhile: the answer shows what was promised."""
        (verb, details), run = order
        answer = self.give(self.client, verb, details, self.ids[run])
        if answer is not None and "state" in answer and verb in PROMISES:
            assert State(answer["state"]) in PROMISES[verb], answer

    @rule(orders=st.lists(ORDERS, min_size=2, max_size=4))
    def several_order_at_once(self, orders: list[tuple[tuple[Verb, Json], int]]) -> None:
        def give(order: tuple[tuple[Verb, Json], int]) -> None:
            (verb, details), run = order
            self.give(self.new_client(), verb, details, self.ids[run])

        with ThreadPoolExecutor(len(orders)) as clients:
            list(clients.map(give, orders))

    @rule(run=RUNS)
    def somebody_waits_until_it_trains(self, run: int) -> None:
        """Unless nothing but an order could bring it there."""

        def trains_or_rests() -> bool:
            found = self.find(self.ids[run])
            if found is None or found["state"] in MOVING:
                return found is None
            return found["state"] != State.RUNNING or found["step"] > 0

        poll(trains_or_rests, self.describe, SETTLES_SECONDS)

    @rule(run=RUNS, number=st.sampled_from([signal.SIGKILL, signal.SIGTERM]))
    def a_trainer_is_signalled(self, run: int, number: signal.Signals) -> None:
        for trainer in self.trainers_of(self.ids[run]):
            with suppress(psutil.NoSuchProcess):
                trainer.send_signal(number)

    @rule(part=st.sampled_from([None, None, *PARTS]))
    def a_part_of_the_daemon_is_killed(self, part: str | None) -> None:
        with suppress(psutil.NoSuchProcess):  # it was being started again
            if part and (process := self.daemon.process(part)):
                process.kill()

    def teardown(self) -> None:
        self.await_rest()
        self.check_that_all_are_here()
        self.check_processes()
        self.end_all()
        self.check_ends()

    def await_rest(self) -> None:
        """Whatever was ordered is done in time: only what trains or waits is left."""
        poll(lambda: not self.found_in(MOVING), self.describe, SETTLES_SECONDS)

    def check_that_all_are_here(self) -> None:
        """Every submit that was acknowledged is one run, and nothing else is there since."""
        since = [run["id"] for run in self.client.runs(all="true") if run["id"] >= min(self.ids)]
        assert sorted(since) == sorted(set(self.ids) - self.removed)
        assert self.said_to_be_gone <= self.removed, "a run was said not to be there"
        directories = {int(path.name) for path in (self.daemon.home / "runs").glob("[0-9]*")}
        assert {run_id for run_id in directories if run_id >= min(self.ids)} == set(since)

    def check_processes(self) -> None:
        """What trains is one process, and what does not is none."""
        for run in self.found():
            trainers = [process.pid for process in self.trainers_of(run["id"])]
            assert len(trainers) <= 1, (run, trainers)
            assert run["state"] not in AT_REST or not trainers, (run, trainers)

    def end_all(self) -> None:
        """One half is killed, one is stopped; what was in between two states is asked again."""

        def has_ended() -> bool:
            left = [run for run in self.found() if run["state"] not in ENDED]
            for run in left:
                is_killed = run["state"] == State.RUNNING and run["id"] % 2
                self.give(self.client, Verb.KILL if is_killed else Verb.STOP, NO_DETAILS, run["id"])
            return not left

        poll(has_ended, self.describe, SETTLES_SECONDS)

    def check_ends(self) -> None:
        """State, outcome.json and the last end in the journal tell the same."""
        for run in self.found():
            assert self.trainers_of(run["id"]) == [], run
            outcome = json.loads(Path(run["run_dir"], "outcome.json").read_text())
            assert (outcome["state"], outcome["reason"]) == (run["state"], run["reason"]), (run, outcome)
            lines = [json.loads(line) for line in Path(run["run_dir"], "events.jsonl").read_text().splitlines()]
            end = [line for line in lines if line["event"] == "ended"][-1]
            assert end["state"] == run["state"], (run, end)
            attempts = [line["attempt"] for line in lines if line["event"] == "started"]
            assert len(attempts) == len(set(attempts)), f"an attempt was started twice: {run}"

    def give(self, client: Daemon, verb: Verb, details: Json, run_id: int) -> Json | None:
        """The answer to an order, or None where it was refused for a reason."""
        try:
            answer = awaited(client, client.order(verb, str(run_id), **details))
        except ReportedError as refusal:
            if refusal.exit_code is ExitCode.NO_SUCH_RUN:
                self.said_to_be_gone.add(run_id)
            elif refusal.exit_code is ExitCode.NOT_ALLOWED:
                check_is_illegal(verb, str(refusal))
            else:
                raise
            return None
        if verb is Verb.REMOVE:
            self.removed.add(run_id)
        return answer

    def found(self) -> list[Json]:
        return [run for run_id in self.ids if (run := self.find(run_id))]

    def found_in(self, states: frozenset[State]) -> list[Json]:
        return [run for run in self.found() if run["state"] in states]

    def find(self, run_id: int) -> Json | None:
        try:
            return self.client.run(str(run_id))
        except ReportedError as refusal:
            if refusal.exit_code is not ExitCode.NO_SUCH_RUN:
                raise
            self.said_to_be_gone.add(run_id)
            return None

    def trainers_of(self, run_id: int) -> list[psutil.Process]:
        everything = psutil.Process(self.daemon.pid).children(recursive=True)
        return [process for process in everything if title_of(process).startswith(f"trainerd trainer {run_id} ")]

    def new_client(self) -> Daemon:
        return Daemon([self.daemon.home / "control.sock"])

    def describe(self) -> str:
        return str([{name: run[name] for name in ("id", "state", "reason", "attempt", "pids")} for run in self.found()])


def a_submission(home: Path, *, ends: bool, hold: bool = False) -> Json:
    overrides = ["trainer.max_epochs=3"] if ends else []
    return {"path": str(home / "endless.yaml"), "text": CONFIGURATION, "overrides": overrides, "hold": hold}


def submitted(answer: Json) -> list[int]:
    return [run["id"] for run in answer["runs"]]


def awaited(client: Daemon, answer: Json) -> Json:
    """What became of an order that the supervisor, being away, could not answer at once. Raises ReportedError."""
    if "command" not in answer:
        return answer

    def answered() -> Json | None:
        found = client.command(answer["command"])
        return found if found["state"] != "pending" else None

    found = poll(answered, f"command {answer['command']} is answered", SETTLES_SECONDS)
    assert found is not None
    if found["problem"]:
        raise ReportedError(found["problem"])
    return {}


def check_is_illegal(verb: Verb, refusal: str) -> None:
    """A refusal that names the run's state names one from which the order is not legal."""
    named = re.search(r": it is (\w+); legal now", refusal)
    assert not named or next_state(verb, State(named[1])) is None, refusal


def title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) + " "
    except psutil.Error:  # it has just ended
        return ""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    home = tmp_path_factory.mktemp("live-machine")
    (home / "trainerd.toml").write_text("slots = 2\n")
    daemon = LiveDaemon(home)
    yield daemon
    daemon.terminate()


def run_sequences(daemon: LiveDaemon, count: int) -> None:
    class Machine(LiveMachine):
        pass

    Machine.daemon = daemon
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=6,
            phases=[Phase.generate],  # what depends on the moment cannot be made smaller
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300)
def test_no_order_leads_a_live_run_astray(daemon: LiveDaemon) -> None:
    run_sequences(daemon, 20)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_no_order_leads_a_live_run_astray_in_many_histories(daemon: LiveDaemon) -> None:
    run_sequences(daemon, 200)
