"""The state can be deleted or overwritten at any moment: it is folded anew, and equals what it was; no run notices."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from losses import LOSSES, damaged_files
from mixed_runs import SLOTS, MixedRuns
from raw_client import Json, RawClient, Reply

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainerd.contracts.commands import Answer
from trainerd.contracts.places import daemon_home
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.settings import Settings
from trainerd.store.command_log import CommandLogReader
from trainerd.store.state import StateReader
from trainerd.supervisor.lasting import LastingSupervisor

MADE_GOOD_WITHIN_SECONDS = 10.0  # about one second on a quiet machine
# What moves while a trainer lives; of the run whose trainer is not stopped, all that its progress brings along.
MOVES = {"beat_age_seconds", "live"}
MOVES_WITH_PROGRESS = {*MOVES, "step", "epoch", "monitor", "checkpoints"}
# The supervisor's own memory, of use only until the next start of a trainer, which reads it off the page again.
INTERNAL = {"settled_order": 0}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    home = tmp_path_factory.mktemp("home")
    (home / "trainerd.toml").write_text(f"slots = {SLOTS}\n")
    daemon = LiveDaemon(home)
    yield daemon
    try:
        daemon.trainctl("kill", "--all")
    finally:
        daemon.terminate()


@pytest.fixture(scope="module")
def client(daemon: LiveDaemon) -> RawClient:
    return RawClient(daemon.home)


@pytest.fixture(scope="module")
def runs(client: RawClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MixedRuns]:
    runs = MixedRuns(client, tmp_path_factory.mktemp("configurations"))
    runs.make()
    yield runs
    runs.let_go()


def all_that_users_see(client: RawClient, runs: MixedRuns) -> dict[str, Any]:
    """Every run, the queue's order and every order's answer, but for what moves by itself."""
    seen: dict[str, Any] = {}
    for run in _patiently(client, "/v1/runs?all=true")["runs"]:
        shown = _patiently(client, f"/v1/runs/{run['id']}")
        moving = MOVES_WITH_PROGRESS if run["id"] == runs.ids["free"] else MOVES
        seen[f"run {run['id']}"] = {key: value for key, value in shown.items() if key not in moving}
    seen["queue"] = [run["id"] for run in _patiently(client, "/v1/status")["queue"]]
    orders = range(1, CommandLogReader(client.home / "commands.sqlite").newest_number() + 1)
    return seen | {f"order {number}": _patiently(client, f"/v1/commands/{number}") for number in orders}


def _patiently(client: RawClient, target: str) -> Json:
    """The answer, asked for again for as long as the daemon says so."""

    def look() -> Reply | None:
        reply = client.get(target)
        assert reply.status == 200 or is_told_to_ask_again(reply), reply
        return reply if reply.status == 200 else None

    reply = poll(look, f"an answer to {target}")
    assert reply is not None
    return reply.document


def is_told_to_ask_again(reply: Reply) -> bool:
    return reply.status == 503 and "retry-after" in reply.headers


def times_made_good(daemon: LiveDaemon) -> int:
    return (daemon.home / "up.log").read_text().count("the state is whole again")


class Questions:
    """Asks for the list of all runs and for one run, over and over, and keeps every answer that is not the truth."""

    def __init__(self, client: RawClient, ids: list[int]) -> None:
        self._client = client
        self._ids = ids
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self.asked = 0
        self.wrong: list[Reply] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask_on(self) -> None:
        while not self._is_over.is_set():
            listed = self._client.get("/v1/runs?all=true")
            shown = self._client.get(f"/v1/runs/{self._ids[-1]}")
            is_whole = listed.status == 200 and [run["id"] for run in listed.document["runs"]] == self._ids
            self.asked += 1
            self.wrong += [] if is_whole or is_told_to_ask_again(listed) else [listed]
            self.wrong += [] if shown.status == 200 or is_told_to_ask_again(shown) else [shown]


@pytest.mark.dies("the state file: lost or damaged")
@pytest.mark.parametrize("loss", LOSSES)
def test_a_state_lost_while_runs_train_is_folded_anew_and_no_run_notices(
    daemon: LiveDaemon, client: RawClient, runs: MixedRuns, loss: str
) -> None:
    """Equal in all that users see; meanwhile every answer is the truth or "ask again"; the damaged file is kept."""
    before, trainer = all_that_users_see(client, runs), runs.show("free")
    ids = [run["id"] for run in _patiently(client, "/v1/runs?all=true")["runs"]]
    state, kept = daemon.home / "state.sqlite", damaged_files(daemon.home)
    with Questions(client, ids) as questions:
        made_good = times_made_good(daemon)
        LOSSES[loss](state)
        damaged = {path.read_bytes() for path in daemon.home.glob("state.sqlite") if loss != "deleted"}
        poll(lambda: times_made_good(daemon) > made_good, "the loss is made good", MADE_GOOD_WITHIN_SECONDS)
        after = all_that_users_see(client, runs)

    assert after == before
    assert questions.wrong == []
    assert questions.asked > 0
    now = runs.show("free")
    assert (now["pids"], now["attempt"]) == (trainer["pids"], trainer["attempt"])
    poll(lambda: runs.show("free")["step"] > now["step"], "the trainer goes on")
    newly_kept = {path.read_bytes() for path in damaged_files(daemon.home) - kept if path.name[-1].isdigit()}
    assert damaged <= newly_kept, "what was damaged is kept as it was found"
    if damaged:
        newest = max(path for path in damaged_files(daemon.home) if path.name[-1].isdigit())
        assert f"is kept as {newest}" in daemon.trainctl("status").stdout
        assert str(newest) in (daemon.home / "up.log").read_text()


def test_a_state_that_is_lost_again_and_again_while_it_is_folded_comes_out_the_same(
    daemon: LiveDaemon, client: RawClient, runs: MixedRuns
) -> None:
    """At random moments of the folding, which takes a few hundredths of a second, and with SIGKILL of who folds."""
    before, trainer = all_that_users_see(client, runs), runs.show("free")["pids"]
    state = daemon.home / "state.sqlite"
    for loss in ("deleted", "overwritten", "deleted"):
        poll(state.exists, "the folding has begun")
        LOSSES[loss](state)
    supervisor = daemon.process("trainerd supervisor")
    assert supervisor is not None
    supervisor.kill()
    poll(state.exists, "the folding has begun")
    LOSSES["deleted"](state)

    assert all_that_users_see(client, runs) == before
    assert runs.show("free")["pids"] == trainer


@pytest.mark.dies("the state file: lost or damaged")
@pytest.mark.parametrize("loss", LOSSES)
def test_a_state_lost_while_nothing_runs_is_folded_anew(
    daemon: LiveDaemon, runs: MixedRuns, tmp_path: Path, loss: str
) -> None:
    """On copies of the home, as if every process of the daemon had been killed."""
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    shutil.copytree(daemon.home, whole, ignore=shutil.ignore_patterns("*.sock", "*.corrupt-*"))
    shutil.copytree(whole, damaged)
    supervise_once(whole)
    if loss in ("middle overwritten", "tail overwritten"):
        supervise_once(damaged)  # else SQLite mends it: every page is in its write-ahead log too

    LOSSES[loss](damaged / "state.sqlite")
    supervise_once(damaged)

    assert records_and_answers(damaged) == records_and_answers(whole)
    assert len(records_and_answers(damaged)[0]) == len(runs.ids) - 1, "one was removed"
    assert bool(damaged_files(damaged)) is (loss != "deleted")


def supervise_once(home: Path) -> None:
    """Let a supervisor without a worker host do all that it can."""
    place = daemon_home({}, str(home))
    supervisor = LastingSupervisor(place, Settings(), CommandLogReader(place.command_log))
    supervisor.tick()
    supervisor.close()


def records_and_answers(home: Path) -> tuple[list[RunRecord], list[Answer | None]]:
    place = daemon_home({}, str(home))
    state = StateReader(place.state)
    newest = CommandLogReader(place.command_log).newest_number()
    records = [record.updated(**INTERNAL) for record in state.runs()]
    return records, [state.answer(number) for number in range(1, newest + 1)]
