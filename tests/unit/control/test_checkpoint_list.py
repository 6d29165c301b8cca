"""The list of a run's checkpoints, read from manifests that nobody has verified."""

from __future__ import annotations

from pathlib import Path

from trainerd.control.checkpoint_list import MANIFEST, list_checkpoints
from trainerd.training.checkpoints.commit import Manifest, commit_directory


def test_a_manifest_that_rots_never_keeps_a_run_from_being_shown(tmp_path: Path) -> None:
    """Whichever bit of it is flipped: what it says is shown as it reads, or left out."""
    for step in (20, 22):
        manifest = Manifest(run="1", attempt=1, step=step, epoch=3, periodic=True, pinned=False)
        commit_directory(tmp_path / f"step-{step:09d}", {"model.safetensors": b"x" * 90}, manifest)
    path = tmp_path / "step-000000022" / MANIFEST
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        rotten = bytearray(whole)
        rotten[bit // 8] ^= 1 << bit % 8
        path.write_bytes(rotten)

        shown = list_checkpoints(tmp_path, best_step=None)

        assert len(shown) in (1, 2), f"bit {bit} flipped"
