"""`python plain_saver.py CHECKPOINTS [STEP ...]`: what a trainer does to its checkpoints, without torch.

It commits each of the steps, tells of it, and goes on where one met an error. Without any it commits step 20, pins it,
and removes step 10. What is durable is told on standard output. Environment: WITHOUT_FSYNC leaves out the syncs of
"files" or of "directories", as a faulty commit would.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from trainerd.training.checkpoints.commit import Manifest, commit_directory, mark_checkpoint, remove_checkpoint

FILES = {"model.safetensors": b"w" * 150_000, "optimizer.safetensors": b"m" * 70_000, "state.json": b"{}" * 300}


def save(checkpoints: Path, step: int) -> Path:
    """Commit a checkpoint of this step."""
    checkpoints.mkdir(exist_ok=True)
    final = checkpoints / f"step-{step:09d}"
    manifest = Manifest(run="1", attempt=1, step=step, epoch=0, periodic=True, pinned=False)
    commit_directory(final, FILES, manifest)
    return final


def main(checkpoints: Path, steps: list[int]) -> None:
    leave_out_syncs_of(os.environ.get("WITHOUT_FSYNC"))
    save_each(checkpoints, steps) if steps else save_and_supersede(checkpoints)


def save_each(checkpoints: Path, steps: list[int]) -> None:
    os.write(1, b"begins\n")
    for step in steps:
        try:
            save(checkpoints, step)
        except OSError as error:
            os.write(1, f"{step} {errno.errorcode[error.errno or 0]}\n".encode())
        else:
            os.write(1, f"{step} saved\n".encode())


def save_and_supersede(checkpoints: Path) -> None:
    saved = save(checkpoints, 20)
    os.write(1, b"20\n")
    mark_checkpoint(saved, periodic=False, pinned=True)
    os.write(1, b"pinned\n")
    remove_checkpoint(checkpoints / "step-000000010")


def leave_out_syncs_of(kind: str | None) -> None:
    fsync = os.fsync

    def sync_the_others(fd: int) -> None:
        if ("directories" if stat.S_ISDIR(os.fstat(fd).st_mode) else "files") != kind:
            fsync(fd)

    if kind:
        os.fsync = sync_the_others
    if kind == "files":
        os.posix_fadvise = lambda *_: None  # it has the disk begin to write: mostly a file is whole by that alone


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(step) for step in sys.argv[2:]])
