"""A disk that gives back other bytes than it was given: a run goes on from the checkpoint before, or fails by name."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from bit_rot import Damage, all_damages, cut, flip, gone, sweep
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import events, frozen_inside_epoch, newest_committed
from tests.polling import poll
from trainerd.contracts.run_directory import RunDirectory
from trainerd.training.checkpoints import verify
from trainerd.training.checkpoints.commit import MANIFEST
from trainerd.training.checkpoints.verify import Verified, list_checkpoints, read_manifest

ENDLESS = "trainer.max_epochs=1000000"
DAMAGES = (
    Damage("model.safetensors", "bit flipped", flip(4_000_003)),
    Damage("training.safetensors", "bit flipped", flip(8_000_001)),
    Damage("training.json", "bit flipped", flip(1001)),
    Damage("training.json", "cut", cut(100)),
    Damage("model.safetensors", "empty", cut(0)),
    Damage("training.safetensors", "gone", gone),
    Damage("manifest.json", "bit flipped", flip(501)),
    Damage("manifest.json", "gone", gone),
)


@pytest.fixture(scope="module")
def paused(wide_daemon: LiveDaemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run with two checkpoints and more, that could go on."""
    if not wide_daemon.is_up():
        wide_daemon.start()
    run = wide_daemon.submit(write_run(tmp_path_factory.mktemp("run"), "synthetic", "mlp"), ENDLESS)
    wide_daemon.await_step(run, 10)
    pin_and_pause(wide_daemon, run)
    return run


def pin_and_pause(daemon: LiveDaemon, run: str) -> None:
    """So it has a checkpoint that stays, and a newer one."""
    pinned = daemon.trainctl("checkpoint", run)
    assert pinned.returncode == 0, pinned.stderr
    daemon.await_step(run, daemon.look_at(run)["step"] + 1)
    assert daemon.trainctl("pause", run).returncode == 0


@pytest.fixture
def checkpoints(wide_daemon: LiveDaemon, paused: str, tmp_path: Path) -> Path:
    """A copy of those that a real trainer has written."""
    of_the_run = RunDirectory(wide_daemon.home / "runs" / paused).checkpoints
    return shutil.copytree(of_the_run, tmp_path / "checkpoints", ignore=shutil.ignore_patterns("damaged-*"))


@pytest.fixture
def damages(checkpoints: Path) -> list[Damage]:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    return list(all_damages(list_checkpoints(checkpoints)[0], random.Random(seed)))


def test_every_bit_that_rots_and_every_file_that_is_cut_or_lost_is_seen(
    checkpoints: Path, damages: list[Damage]
) -> None:
    """In all of the trials: the one before is taken, and the damaged one is named and kept aside."""
    assert len(damages) > 1000
    assert sweep(checkpoints, damages) == []


def test_without_the_checksums_the_sweep_finds_what_rots(
    checkpoints: Path, damages: list[Damage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep itself can fail: a planted bug that trusts every manifest that can be read."""
    monkeypatch.setattr(verify, "verify", lambda path, _show_progress: Verified(path, read_manifest(path)))
    in_tensors = [damage for damage in damages if damage.file != MANIFEST]
    assert sweep(checkpoints, in_tensors) == in_tensors


@pytest.mark.dies("the newest checkpoint (damaged)")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: f"{damage.file} {damage.what}")
def test_a_run_goes_on_from_the_checkpoint_before_the_damaged_one(
    wide_daemon: LiveDaemon, paused: str, damage: Damage
) -> None:
    """The journal names the damaged one, and it is kept as it was found."""
    directory = RunDirectory(wide_daemon.home / "runs" / paused)
    newest, before = list_checkpoints(directory.checkpoints)[:2]
    damage.do(newest)
    found = {path.name: path.read_bytes() for path in newest.iterdir()}
    attempt = wide_daemon.look_at(paused)["attempt"] + 1

    assert wide_daemon.trainctl("resume", paused).returncode == 0

    [resumed] = poll(
        lambda: [event for event in events(directory, "resumed") if event["attempt"] == attempt],
        lambda: f"the run goes on: {events(directory)[-3:]}",
    )
    assert resumed["checkpoint"] == before.name
    [skipped] = [event for event in events(directory, "checkpoint_skipped") if event["attempt"] == attempt]
    assert skipped["path"] == newest.name
    assert damage.file in skipped["why"]
    aside = max(directory.checkpoints.glob(f"damaged-{newest.name}*"))
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == found
    wide_daemon.await_step(paused, before_and_one_more(before))
    pin_and_pause(wide_daemon, paused)


def before_and_one_more(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-")) + 1


@pytest.mark.dies("all checkpoints of a run (damaged)")
@pytest.mark.parametrize("damage", [DAMAGES[1], DAMAGES[7], None], ids=["a bit flipped", "no manifest", "all gone"])
def test_a_run_whose_checkpoints_are_all_damaged_fails_and_never_starts_anew(
    daemon: LiveDaemon, tmp_path: Path, damage: Damage | None
) -> None:
    """Its trainer is killed, so that the daemon starts the next attempt by itself."""
    run = daemon.submit(write_run(tmp_path, "synthetic", "mlp"), ENDLESS, "retry.max_failures=5")
    directory = RunDirectory(daemon.home / "runs" / run)
    with frozen_inside_epoch(40, directory, attempt=1):
        poll(lambda: newest_committed(directory, attempt=1), "a checkpoint has been committed")
        for checkpoint in list_checkpoints(directory.checkpoints):
            damage.do(checkpoint) if damage else shutil.rmtree(checkpoint)
        os.kill(daemon.look_at(run)["pids"][0], signal.SIGKILL)

    assert daemon.trainctl("wait", run).returncode == 1

    shown = daemon.show(run)
    assert (shown["state"], shown["reason"], shown["attempt"]) == ("failed", "corrupt_checkpoint", 2)
    assert [event["attempt"] for event in events(directory, "first_step")] == [1], "no step was taken anew"
    assert len(events(directory, "checkpoint_skipped")) == len(list(directory.checkpoints.glob("damaged-*")))
    assert bool(events(directory, "checkpoint_skipped")) is (damage is not None)
