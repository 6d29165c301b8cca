"""What people do all day: submit, wait, look, stop, cancel, through the real CLI against a live daemon."""

from __future__ import annotations

import json
from pathlib import Path

from live_daemon import LiveDaemon

SIX_MISTAKES = """\
name: wrong
data:
  kind: hdf5
  path: absent.h5
  inputs: {key: noisy, shape: [16]}
  targets: {key: clean, shape: [1]}
  split: {val: 0.25, seed: 0}
  batch_size: many
model: {name: mlp}
loss: {name: mse}
optimizer: {name: adamw, lr: 3e-4x}
trainer: {max_epochs: 3, devise: cpu}
early_stopping: {patience: -5}
seed: 1
seed: 2
"""


def test_a_submitted_run_trains_and_is_there_to_be_looked_at(daemon: LiveDaemon, short: Path) -> None:
    """Submit, wait, show, metrics, events, logs."""
    run = daemon.submit(short)

    assert daemon.trainctl("wait", run).returncode == 0

    shown = daemon.show(run)
    assert (shown["state"], shown["reason"], shown["epoch"], shown["step"]) == ("completed", "finished", 3, 18)
    assert Path(shown["model"]["path"]).exists()
    assert shown["spec"]["trainer"]["max_epochs"] == 3
    assert [point["step"] for point in daemon.metrics(run) if point["split"] == "val"] == [6, 12, 18]
    events = [json.loads(line)["event"] for line in daemon.trainctl("events", run).stdout.splitlines()]
    assert events[0] == "admitted"
    assert events[-1] == "ended"
    assert "epoch 3/3" in daemon.trainctl("logs", run).stdout


def test_submit_follow_ends_with_a_summary_and_the_runs_own_exit_code(daemon: LiveDaemon, short: Path) -> None:
    watched = daemon.trainctl("submit", short, "--name", "watched", "--follow")

    assert watched.returncode == 0, watched.stderr
    assert "epoch 3/3  step 18" in watched.stdout
    assert "(watched) completed: finished" in watched.stdout
    assert "model.safetensors" in watched.stdout


def test_a_dry_run_prints_the_resolved_configuration_and_queues_nothing(daemon: LiveDaemon, short: Path) -> None:
    before = daemon.trainctl("list", "--all", "-o", "id").stdout

    checked = daemon.trainctl("submit", short, "trainer.max_epochs=9", "--dry-run")

    assert checked.returncode == 0, checked.stderr
    assert "max_epochs: 9" in checked.stdout
    assert daemon.trainctl("list", "--all", "-o", "id").stdout == before


def test_six_mistakes_are_six_located_findings_and_nothing_is_queued(daemon: LiveDaemon, tmp_path: Path) -> None:
    """Unknown key, wrong type, `lr: 3e-4x`, missing file, negative patience, duplicate key."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SIX_MISTAKES)
    before = daemon.trainctl("list", "--all", "-o", "id").stdout

    submitted, checked = daemon.trainctl("submit", wrong), daemon.trainctl("check", wrong)

    for refused in (submitted, checked):
        assert refused.returncode == 78
        findings = refused.stderr.splitlines()
        assert len(findings) == 6, refused.stderr
        assert all(finding.startswith(f"{wrong}:") for finding in findings)
    lines_in_file = {int(finding.removeprefix(f"{wrong}:").split(":")[0]) for finding in submitted.stderr.splitlines()}
    assert lines_in_file == {4, 8, 11, 12, 13, 15}
    assert "did you mean device?" in submitted.stderr
    assert daemon.trainctl("list", "--all", "-o", "id").stdout == before


def test_stop_commits_a_checkpoint_of_the_step_at_which_it_stops(daemon: LiveDaemon, endless: Path) -> None:
    run = daemon.submit(endless)
    daemon.await_step(run, 20)

    stopped = daemon.trainctl("stop", run)

    assert stopped.returncode == 0, stopped.stderr
    shown = daemon.show(run)
    assert (shown["state"], shown["reason"]) == ("stopped", "user_stop")
    newest = max(shown["checkpoints"], key=lambda checkpoint: checkpoint["step"])
    assert newest["step"] == shown["step"]
    assert newest["path"] in stopped.stderr
    assert (Path(newest["path"]) / "manifest.json").exists()
    assert daemon.trainctl("wait", run).returncode == 75


def test_a_run_that_waits_can_be_cancelled_and_one_that_has_ended_cannot(daemon: LiveDaemon, short: Path) -> None:
    run = daemon.submit(short, "--hold")

    cancelled, again = daemon.trainctl("cancel", run), daemon.trainctl("cancel", run)

    assert (cancelled.returncode, daemon.show(run)["state"]) == (0, "cancelled")
    assert again.returncode == 4
    assert "legal now" in again.stderr
    assert daemon.trainctl("wait", run).returncode == 1


def test_status_shows_the_active_run_and_the_queue(daemon: LiveDaemon, endless: Path, short: Path) -> None:
    running = daemon.submit(endless)
    waiting = daemon.submit(short, "--after", running, "--name", "patient")
    daemon.await_step(running, 1)

    shown = daemon.trainctl().stdout

    assert "endless" in shown
    assert "/1000000" in shown
    assert f"queued after {running}" in shown
    daemon.trainctl("cancel", waiting)
