"""However a trainer crashes, the cause is recorded, its run goes on to the same bits, and other runs notice nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from same_end import assert_same_end
from small_runs import write_run

from tests.acceptance.live_daemon import Json, LiveDaemon, daemon_with_settings
from tests.frozen_trainer import events
from tests.polling import poll

MODEL = (
    'model={target: "crashing_net:Crashing", args: {in_features: 16, out_features: 2}}',
    "retry.backoff_seconds=0.1",
)
CRASHING = """\
import ctypes
import os
import resource
import sys
import threading
from pathlib import Path
import torch


def fail_in_a_thread():
    raise RuntimeError("a thread of the model has failed")


def use_thread():
    thread = threading.Thread(target=fail_in_a_thread, name="data thread")
    thread.start()
    thread.join()


def limit_memory():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))


CRASHES = {
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGABRT": os.abort,
    "sys.exit": lambda: sys.exit(3),
    "os._exit": lambda: os._exit(3),
    "exception": lambda: {}["missing"],
    "thread": use_thread,
}


class Crashing(torch.nn.Linear):
    \"\"\"Crashes as a file in the run's directory says: once, at some use ("crash"), or at each one ("always").\"\"\"

    hoard = []
    uses = 0

    def forward(self, x_BF):
        self.uses += self.training
        once, always = Path("crash"), Path("always")
        if once.exists() and self.uses == int(once.read_text().split()[1]):
            how = once.read_text().split()[0]
            once.unlink()
            CRASHES[how]()
        if always.exists():
            self.crash_always(always.read_text())
        return super().forward(x_BF)

    def crash_always(self, how):
        if how == "exception":
            raise ValueError("it never works")
        if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
            limit_memory()
        self.hoard.append(torch.ones((1 << 30) if how == "much at once" else (1 << 20)))
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    with daemon_with_settings(tmp_path_factory.mktemp("home"), "slots = 3\n") as daemon:
        yield daemon


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "crashing_net.py").write_text(CRASHING)
    return write_run(tmp_path, "synthetic", "mlp")


HOW_IT_ENDS = {
    "SIGSEGV": (11, "the trainer was killed by SIGSEGV; its stacks are in stacks-1.txt"),
    "SIGABRT": (6, "the trainer was killed by SIGABRT; its stacks are in stacks-1.txt"),
    "sys.exit": (None, "SystemExit: 3"),
    "os._exit": (None, "the trainer exited with 3 before it could say why; see its log"),
    "exception": (None, "KeyError: 'missing'"),
}


def test_however_user_code_crashes_the_cause_is_recorded_and_the_run_ends_as_if_nothing_had_been(
    daemon: LiveDaemon, configuration: Path
) -> None:
    """Each way of crashing at three places; the runs train side by side."""
    expected = daemon.submit(configuration, *MODEL)
    plans = [(how, use) for how in HOW_IT_ENDS for use in (100, 200, 400)]

    runs = [submit_that_crashes(daemon, configuration, "crash", f"{how} {use}") for how, use in plans]
    assert daemon.trainctl("wait", expected, *runs).returncode == 0

    for run, (how, _) in zip(runs, plans, strict=True):
        directory = daemon.directory(run)
        [crash] = crashes(daemon, run)
        signal, error = HOW_IT_ENDS[how]
        assert (crash["state"], crash["reason"], crash["signal"], crash["error"]) == ("crashed", "error", signal, error)
        told_in = directory.stacks(1) if signal else directory.log
        assert how == "os._exit" or "crashing_net.py" in told_in.read_text()
        assert_same_end(directory, daemon.directory(expected))
        assert daemon.show(run)["exactness"] == "exact"


def test_an_exception_in_a_thread_of_user_code_is_in_the_log_and_ends_nothing(
    daemon: LiveDaemon, configuration: Path
) -> None:
    run = submit_that_crashes(daemon, configuration, "crash", "thread 100")

    assert daemon.trainctl("wait", run).returncode == 0
    assert "RuntimeError: a thread of the model has failed" in daemon.directory(run).log.read_text()
    assert daemon.show(run)["attempt"] == 1


@pytest.mark.dies("a trainer, again and again")
def test_a_run_that_fails_at_once_each_time_ends_as_a_crash_loop_and_the_next_one_starts(
    daemon: LiveDaemon, configuration: Path
) -> None:
    runs = [submit_that_crashes(daemon, configuration, "always", "exception") for _ in range(3)]
    after = daemon.submit(configuration, *MODEL)

    assert daemon.trainctl("wait", *runs).returncode == 1
    assert daemon.trainctl("wait", after).returncode == 0

    for run in runs:
        shown = daemon.show(run)
        assert (shown["state"], shown["reason"], shown["attempt"]) == ("failed", "crash_loop", 3)
        assert shown["error"] == "ValueError: it never works"
        assert [crash["step"] for crash in crashes(daemon, run)] == [0, 0, 0]


def test_runs_that_ask_for_more_memory_than_they_may_have_end_out_of_memory_after_three_tries(
    daemon: LiveDaemon, configuration: Path
) -> None:
    """Beside them, a run that asks for none trains on."""
    neighbour = daemon.submit(configuration, *MODEL)
    runs = [submit_that_crashes(daemon, configuration, "always", "much at once") for _ in range(3)]

    assert daemon.trainctl("wait", *runs).returncode == 1
    assert daemon.trainctl("wait", neighbour).returncode == 0

    for run in runs:
        shown = daemon.show(run)
        assert (shown["state"], shown["reason"], shown["attempt"]) == ("failed", "out_of_memory", 3)
        assert [crash["reason"] for crash in crashes(daemon, run)] == ["out_of_memory"] * 3
    assert daemon.show(neighbour)["attempt"] == 1


def test_runs_that_run_out_of_memory_slowly_are_out_of_memory_and_keep_what_they_have_done(
    daemon: LiveDaemon, configuration: Path
) -> None:
    """Each attempt does some steps and commits them, so it is tried again and again."""
    runs = [submit_that_crashes(daemon, configuration, "always", "little by little") for _ in range(3)]

    for run in runs:
        poll(lambda run=run: len(crashes(daemon, run)) >= 3, f"run {run} crashes three times", seconds=60)
        first, second, third = crashes(daemon, run)[:3]
        assert {crash["reason"] for crash in (first, second, third)} == {"out_of_memory"}
        assert first["step"] < second["step"] < third["step"]


def submit_that_crashes(daemon: LiveDaemon, configuration: Path, when: str, how: str) -> str:
    """A run whose model crashes as the file `when` in its directory says."""
    run = daemon.submit(configuration, *MODEL, "--hold")
    (daemon.directory(run).path / when).write_text(how)
    assert daemon.trainctl("resume", run).returncode == 0
    return run


def crashes(daemon: LiveDaemon, run: str) -> list[Json]:
    """How each attempt ended that crashed."""
    return [event for event in events(daemon.directory(run), "ended") if event["state"] == "crashed"]
