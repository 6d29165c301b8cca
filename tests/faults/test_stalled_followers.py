"""People who follow a run and never read what they are sent cost the daemon little, and its runs nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from test_random_kills import ENDLESS, pid_of

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainctl import http_client
from trainerd.contracts import unix_sockets

BACKLOG_BYTES = 1 << 20  # more than a socket takes, so that every follower stalls
ONE_FOLLOWER_BYTES = 50_000
SLACK_BYTES = 10_000_000  # of a process that has answered nobody yet, where there are few followers
STREAMS = ("follow", "metrics")


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.torture)])
def test_followers_who_never_read_cost_no_step_and_little_memory(
    daemon: LiveDaemon, tmp_path: Path, count: int
) -> None:
    """1,000 of them at most 50 MB. The trainer only writes files: nobody who reads them can hold it up."""
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    run = daemon.submit(tmp_path / "endless.yaml", "trainer.log_every_steps=1")
    metrics = daemon.home / "runs" / run / "metrics.jsonl"
    poll(lambda: metrics.exists() and metrics.stat().st_size > BACKLOG_BYTES, "there is much to be sent", seconds=60)
    control = psutil.Process(pid_of(daemon, "control"))
    descriptors, before = control.num_fds(), control.memory_info().rss

    with ExitStack() as connections:
        for number in range(count):
            connection = connections.enter_context(
                unix_sockets.connect(daemon.home / "control.sock", timeout_seconds=20)
            )
            target = f"/v1/runs/{run}/{STREAMS[number % 2]}"
            connection.sendall(http_client.encode_request("GET", target, {"Accept": "text/event-stream"}))
        poll(lambda: control.num_fds() >= descriptors + count, "all of them are served", seconds=60)
        step = daemon.look_at(run)["step"]

        assert f"{run}  endless" in daemon.trainctl("status").stdout
        poll(lambda: daemon.look_at(run)["step"] > step + 200, "the run goes on", seconds=60)
        grown = control.memory_info().rss - before

    print(f"{count} followers who do not read: {grown / 1e6:.1f} MB")
    assert grown <= count * ONE_FOLLOWER_BYTES + (SLACK_BYTES if count < 1000 else 0)
    poll(lambda: control.num_fds() <= descriptors, "nothing is left of them", seconds=60)
