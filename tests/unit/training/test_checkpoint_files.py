"""A checkpoint is whole and durable, or it does not exist; and it is trusted only after every byte has been checked."""

import ctypes
import errno
import mmap
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainerd.contracts.errors import CorruptCheckpoint
from trainerd.training.checkpoints import commit
from trainerd.training.checkpoints.commit import Manifest, commit_directory
from trainerd.training.checkpoints.file_image import FileImage
from trainerd.training.checkpoints.verify import Damaged, list_checkpoints, newest_verified, verify

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "steps": torch.tensor(7),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "flags": torch.tensor([True, False, True]),
    "empty": torch.empty(0, 4),
}


def manifest(step: int) -> Manifest:
    return Manifest(run="7", attempt=1, step=step, epoch=1, periodic=True, pinned=False)


def make_checkpoint(checkpoints: Path, step: int) -> Path:
    path = checkpoints / f"step-{step:09d}"
    commit_directory(path, {"model.safetensors": b"weights" * 100, "training.json": b"{}"}, manifest(step))
    return path


def test_a_file_image_is_a_safetensors_file_that_others_read(tmp_path: Path) -> None:
    image = FileImage()
    image.hold(TENSORS)
    (tmp_path / "x.safetensors").write_bytes(image.buffer)
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_a_file_image_is_reused_and_holds_the_newest_values(tmp_path: Path) -> None:
    image, weight = FileImage(), torch.zeros(4)
    image.hold({"weight": weight})
    address = image.buffer.obj.ctypes.data  # type: ignore[attr-defined]
    image.hold({"weight": weight + 5})
    (tmp_path / "x.safetensors").write_bytes(image.buffer)
    assert image.buffer.obj.ctypes.data == address  # type: ignore[attr-defined]
    assert torch.equal(load_file(tmp_path / "x.safetensors")["weight"], torch.full((4,), 5.0))


def test_what_was_committed_verifies(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path, 3)
    assert verify(path).manifest.step == 3
    assert verify(path).manifest.files["training.json"].bytes == 2


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing"])
def test_any_damage_to_any_file_is_seen(tmp_path: Path, name: str, damage: str) -> None:
    path = make_checkpoint(tmp_path, 3)
    content = bytearray((path / name).read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0x80
    (path / name).write_bytes({"flip": content, "truncate": content[:-1], "empty": b"", "missing": b""}[damage])
    if damage == "missing":
        (path / name).unlink()
    with pytest.raises(Damaged, match=name):
        verify(path)


def test_the_newest_checkpoint_that_verifies_is_chosen_and_the_damaged_one_kept_aside(tmp_path: Path) -> None:
    older, newer = make_checkpoint(tmp_path, 3), make_checkpoint(tmp_path, 5)
    (newer / "training.json").write_bytes(b"[]")
    named: list[tuple[str, str]] = []

    chosen = newest_verified(tmp_path, lambda name, why: named.append((name, why)))

    assert chosen is not None
    assert chosen.path == older
    assert named == [("step-000000005", "training.json: its checksum is not the manifest's")]
    assert (tmp_path / "damaged-step-000000005").is_dir()


def test_the_same_step_may_be_damaged_twice(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 3)
    for _ in range(2):
        (make_checkpoint(tmp_path, 5) / "training.json").write_bytes(b"")
        assert newest_verified(tmp_path, lambda *_: None) is not None
    assert {path.name for path in tmp_path.glob("damaged-*")} == {
        "damaged-step-000000005",
        "damaged-step-000000005.2",
    }


def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files says nothing about the checkpoint: it must not be put aside."""
    path = make_checkpoint(tmp_path, 5)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        newest_verified(tmp_path, lambda *_: None)
    monkeypatch.undo()
    assert path.is_dir()


def test_when_no_checkpoint_verifies_the_run_never_starts_again_in_silence(tmp_path: Path) -> None:
    (make_checkpoint(tmp_path, 3) / "manifest.json").unlink()
    for _ in range(2):  # also at the next attempt, when the damaged one has been renamed
        with pytest.raises(CorruptCheckpoint, match="step-000000003"):
            newest_verified(tmp_path, lambda *_: None)


def test_no_checkpoints_at_all_is_a_start_from_the_beginning(tmp_path: Path) -> None:
    assert newest_verified(tmp_path / "none", lambda *_: None) is None


def test_a_failed_fsync_leaves_the_old_checkpoints_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third fsync is the manifest's: by then both files are written."""
    make_checkpoint(tmp_path, 3)
    calls = []

    def fail_third(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail_third)
    with pytest.raises(OSError, match="Input/output error"):
        make_checkpoint(tmp_path, 5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-000000003"]
    assert len(set(calls)) <= 3


def test_files_are_synced_before_the_rename_and_the_parent_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        order.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        real_fsync(fd)

    def rename(source: Path, destination: Path) -> None:
        order.append("rename")
        real_rename(source, destination)

    monkeypatch.setattr(commit.os, "fsync", fsync)
    monkeypatch.setattr(commit.os, "rename", rename)
    make_checkpoint(tmp_path, 5)
    temporary = "tmp-step-000000005"
    assert order == ["model.safetensors", "training.json", "manifest.json", temporary, "rename", tmp_path.name]


def test_a_left_over_temporary_directory_never_blocks_the_next_save(tmp_path: Path) -> None:
    (tmp_path / "tmp-step-000000003").mkdir()
    (tmp_path / "tmp-step-000000003" / "model.safetensors").write_bytes(b"torn")
    assert verify(make_checkpoint(tmp_path, 3)).manifest.step == 3


def test_checkpoints_are_ordered_by_their_steps_and_nothing_else_is_one(tmp_path: Path) -> None:
    for name in ("step-999999999", "step-1000000000", "step-000000100", "step-000000100.bak", "step-", "tmp-step-7"):
        (tmp_path / name).mkdir()

    names = [path.name for path in list_checkpoints(tmp_path)]

    assert names == ["step-1000000000", "step-999999999", "step-000000100"]


def test_a_durable_checkpoint_takes_no_memory_from_the_data(tmp_path: Path) -> None:
    """It is read only after a death; its pages must not push out what is read in every epoch."""
    content = os.urandom(1 << 20)

    commit.write_durably(tmp_path / "tensors", content)

    in_memory = pages_in_memory(tmp_path / "tensors")
    (tmp_path / "other").write_bytes(content)
    assert pages_in_memory(tmp_path / "other") == len(content) // mmap.PAGESIZE, (
        "a file that was just written is looked for in the page cache"
    )
    if is_dropped_by_the_file_system(tmp_path / "other"):
        assert in_memory == 0
    else:
        pytest.skip("this file system keeps its files in memory")


def is_dropped_by_the_file_system(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    return pages_in_memory(path) == 0


def pages_in_memory(path: Path) -> int:
    """How many pages of a file are in the page cache (mincore(2))."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
        size = len(mapped)
        resident = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        libc = ctypes.CDLL(None, use_errno=True)
        address = np.frombuffer(mapped, np.uint8).ctypes.data
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), resident) == 0, ctypes.get_errno()
        return sum(each & 1 for each in resident)


def test_who_checks_or_writes_a_large_checkpoint_shows_progress_on_the_way(tmp_path: Path) -> None:
    """Or a slow disk would look like a trainer that hangs."""
    beats: list[str] = []
    files = {"model.safetensors": bytes(3 << 20), "training.json": b"{}"}
    path = tmp_path / "step-000000007"
    commit_directory(path, files, manifest(7), lambda: beats.append("written"))
    verify(path, lambda: beats.append("read"))

    assert beats.count("written") >= len(files)
    assert beats.count("read") >= 3
