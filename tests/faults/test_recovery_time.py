"""How soon a run steps again when its trainer was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.recovery import CONFIGURATION, recover_once
from tests.acceptance.live_daemon import LiveDaemon
from trainerd.contracts.run_directory import RunDirectory

TRIES = 3
AT_MOST_SECONDS = 1.0


@pytest.mark.alone
def test_the_first_step_comes_within_a_second_after_the_trainer_was_killed(daemon: LiveDaemon, tmp_path: Path) -> None:
    """The shortest of several: a machine that is busy for a moment must fail no test. `make bench` takes the median."""
    configuration = tmp_path / "recovery.yaml"
    configuration.write_text(CONFIGURATION)
    run = daemon.submit(configuration)

    taken = [recover_once(RunDirectory(daemon.home / "runs" / run)) for _ in range(TRIES)]

    assert min(recovery.first_step for recovery in taken) <= AT_MOST_SECONDS, taken
    assert daemon.show(run)["attempt"] == TRIES + 1
