"""Whatever interrupts runs in the ordinary way, they end in the very bits of runs that nothing has interrupted."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from interruptions import OF_ONE_RUN, InterruptedRun, Interruption, of_all_runs
from same_end import STEPS, assert_same_end
from small_runs import DATA, MODELS, SLOTS, STEPS_PER_EPOCH, write_run

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import events, frozen_inside_epoch, newest_committed
from trainerd.contracts.run_directory import RunDirectory

ONCE_EACH = list(zip(DATA, MODELS, strict=True))
ALL_KINDS = [*product(DATA, MODELS)]
TWENTY = [(ALL_KINDS * 3)[place : place + SLOTS] for place in range(0, 20, SLOTS)]
Kind = tuple[str, str]  # of data and of model
Plan = list[tuple[Interruption, int]]  # and the steps at which they are due


Configurations = Callable[[Kind], Path]
Uninterrupted = Callable[[Sequence[Kind]], list[RunDirectory]]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configurations:
    """The configuration of a kind: one file for all its runs, because every checkpoint names it."""
    folder = tmp_path_factory.mktemp("configurations")
    return cache(lambda kind: write_run(folder, *kind))


@pytest.fixture(scope="module")
def uninterrupted(wide_daemon: LiveDaemon, configuration: Configurations) -> Uninterrupted:
    """What runs of these kinds are when nothing interrupts them."""
    known: dict[Kind, str] = {}

    def train(kinds: Sequence[Kind]) -> list[RunDirectory]:
        known.update({kind: wide_daemon.submit(configuration(kind)) for kind in kinds if kind not in known})
        runs = [known[kind] for kind in kinds]
        assert wide_daemon.trainctl("wait", *runs).returncode == 0
        return [RunDirectory(wide_daemon.home / "runs" / run) for run in runs]

    return train


@pytest.mark.timeout(300)  # many processes: a busy machine takes its time
@pytest.mark.dies("the worker host")
@pytest.mark.dies("a trainer: SIGTERM or SIGINT, from whomever")
@pytest.mark.dies("a trainer: SIGKILL or a crash")
@pytest.mark.dies("trainerd up: SIGTERM, SIGINT or trainerd down")
@pytest.mark.parametrize("kinds", [pytest.param(ONCE_EACH, id="once-each")])
def test_eight_interruptions_in_random_order_change_no_bit(
    daemon: LiveDaemon, configuration: Configurations, uninterrupted: Uninterrupted, kinds: list[Kind]
) -> None:
    """Three runs that train at the same time: each kind of data and each kind of model once."""
    assert_exact_through_interruptions(daemon, configuration, uninterrupted, kinds)


@pytest.mark.torture
@pytest.mark.parametrize("kinds", TWENTY, ids=lambda kinds: "+".join("-".join(kind) for kind in kinds))
def test_twenty_runs_with_eight_interruptions_each_change_no_bit(
    daemon: LiveDaemon, configuration: Configurations, uninterrupted: Uninterrupted, kinds: list[Kind]
) -> None:
    """All kinds of data with all kinds of models, more than twice."""
    assert_exact_through_interruptions(daemon, configuration, uninterrupted, kinds)


def assert_exact_through_interruptions(
    daemon: LiveDaemon, configuration: Configurations, uninterrupted: Uninterrupted, kinds: list[Kind]
) -> None:
    """Act and assert of the tests above. The seed decides the order of the interruptions and their steps."""
    seed = int(os.environ.get("INTERRUPTIONS_SEED") or random.randrange(2**32))
    print(f"to do the same again: INTERRUPTIONS_SEED={seed}")  # shown where the test fails
    expected = uninterrupted(kinds)
    runs = [InterruptedRun(daemon, daemon.submit(configuration(kind))) for kind in kinds]
    plans = plan_interruptions(random.Random(seed), runs)

    with ThreadPoolExecutor(len(runs)) as threads:
        lives = [threads.submit(live_through, run, plan) for run, plan in zip(runs, plans, strict=True)]
    for life in as_completed(lives):  # where one fails the others wait for it in vain: its error comes first
        life.result()
    assert daemon.trainctl("wait", *[run.id for run in runs], "--timeout", "60").returncode == 0

    for run, plan, reference in zip(runs, plans, expected, strict=True):
        assert_went_on(run, plan)
        assert_same_end(run.directory, reference)
        shown = daemon.show(run.id)
        assert (shown["state"], shown["reason"], shown["attempt"]) == ("completed", "finished", 9)
        assert shown["exactness"] == "exact"


def plan_interruptions(chooser: random.Random, runs: list[InterruptedRun]) -> list[Plan]:
    """Each run's interruptions in random order, and a random step for each; what comes to all has one place in all.

    The steps rise: each is in a part of its own of the run's first three quarters.
    """
    orders = [chooser.sample(OF_ONE_RUN, len(OF_ONE_RUN)) for _ in runs]
    for interruption in of_all_runs(runs):
        place = chooser.randint(0, len(orders[0]))
        for order in orders:
            order.insert(place, interruption)
    part = STEPS * 3 // 4 // len(orders[0])
    return [[(each, place * part + chooser.randint(1, part)) for place, each in enumerate(order)] for order in orders]


def live_through(run: InterruptedRun, plan: Plan) -> None:
    """Interrupt the run while it stands still at each step of the plan, or soon after it and inside an epoch."""
    for interruption, aim in plan:
        print(f"run {run.id}, attempt {run.attempt}: {interruption.name} at step {aim}")
        with frozen_inside_epoch(aim, run.directory, run.attempt) as step:
            what_follows = interruption.begin(run)
        what_follows()
        run.interrupted_at.append(step)
        run.attempt += 1


def assert_went_on(run: InterruptedRun, plan: Plan) -> None:
    """The journal shows every attempt but the last end where it was interrupted, strictly inside an epoch.

    The next one goes on from that very step where the trainer could save, else from the newest checkpoint before it.
    """
    ended = [event["step"] for event in events(run.directory, "ended")][:-1]
    resumed = {event["attempt"]: event["step"] for event in events(run.directory, "resumed")}
    for attempt, ((interruption, _), frozen, end) in enumerate(zip(plan, run.interrupted_at, ended, strict=True), 1):
        resumption = resumed.get(attempt + 1, 0)  # killed before its first checkpoint it starts anew
        assert end % STEPS_PER_EPOCH, f"{interruption.name} came between two epochs"
        if interruption.saves:
            assert frozen <= end <= frozen + 1  # the update under way
            assert resumption == end
        else:
            assert end == frozen
            assert newest_committed(run.directory, attempt) <= resumption <= end
    assert events(run.directory, "replay_differed", "checkpoint_skipped", "warning") == []
