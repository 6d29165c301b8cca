"""Which checkpoint to resume from: the newest one whose manifest verifies. Damaged ones are named and kept aside."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from trainerd.contracts.errors import CorruptCheckpoint
from trainerd.training.checkpoints.commit import MANIFEST, Manifest, ShowProgress, tell_nobody

DAMAGED_PREFIX = "damaged-"
_PREFIX = "step-"
_BLOCK_BYTES = 1 << 20


class Damaged(Exception):
    """A checkpoint does not hold what its manifest promises; the message says in which way."""


@dataclass(frozen=True)
class Verified:
    """A checkpoint whose every byte has been checked."""

    path: Path
    manifest: Manifest


def verify(path: Path, show_progress: ShowProgress = tell_nobody) -> Verified:
    """Check every file of a checkpoint against its manifest; a large one takes time. Raises Damaged."""
    manifest = read_manifest(path)
    for name, entry in manifest.files.items():
        try:
            size, checksum = _measure(path / name, show_progress)
        except OSError as error:
            raise _as_damage(name, error) from error
        if size != entry.bytes:
            raise Damaged(f"{name}: {size} bytes, the manifest says {entry.bytes}")
        if checksum != entry.xxh3:
            raise Damaged(f"{name}: its checksum is not the manifest's")
    return Verified(path, manifest)


def read_manifest(path: Path) -> Manifest:
    """The manifest of a checkpoint, its files unchecked. Raises Damaged."""
    try:
        manifest = Manifest.decode((path / MANIFEST).read_bytes())
    except OSError as error:
        raise _as_damage(MANIFEST, error) from error
    except ValueError as error:
        raise Damaged(f"{MANIFEST}: {error}") from error
    if path.name != f"step-{manifest.step:09d}":
        raise Damaged(f"{MANIFEST}: is of step {manifest.step}")
    return manifest


def _as_damage(name: str, error: OSError) -> Exception:
    """Damaged, where the file itself is; else the error: a checkpoint that cannot be read now is not a bad one."""
    return Damaged(f"{name}: {error.strerror}") if error.errno in (errno.ENOENT, errno.EIO) else error


def list_checkpoints(checkpoints: Path) -> list[Path]:
    """The checkpoint directories, newest step first; verified or not. What a person has put beside them is not one."""
    entries = checkpoints.glob(f"{_PREFIX}*") if checkpoints.is_dir() else ()
    steps = [entry.name.removeprefix(_PREFIX) for entry in entries]
    return [checkpoints / f"{_PREFIX}{step}" for step in sorted(filter(str.isdecimal, steps), key=int, reverse=True)]


def newest_verified(
    checkpoints: Path, report_damage: Callable[[str, str], None], show_progress: ShowProgress = tell_nobody
) -> Verified | None:
    """The newest checkpoint that verifies; None if there are none at all.

    Damaged ones are renamed to damaged-step-N and reported as (name, why). Raises CorruptCheckpoint if there were
    checkpoints and none verifies, now or in an earlier attempt.
    """
    damage: dict[str, str] = {}
    for path in list_checkpoints(checkpoints):
        try:
            return verify(path, show_progress)
        except Damaged as error:
            damage[path.name] = str(error)
            os.rename(path, _free_name_aside(path))
            report_damage(path.name, str(error))
    for path in sorted(checkpoints.glob(DAMAGED_PREFIX + "*")):
        damage.setdefault(path.name.removeprefix(DAMAGED_PREFIX), "set aside before")
    if damage:
        raise CorruptCheckpoint(str(checkpoints), damage)
    return None


def _free_name_aside(path: Path) -> Path:
    """damaged-step-N, or damaged-step-N.2 and so on where the same step has been damaged before."""
    names = (DAMAGED_PREFIX + path.name + (f".{count}" if count > 1 else "") for count in itertools.count(1))
    return next(aside for name in names if not (aside := path.with_name(name)).exists())


def _measure(path: Path, show_progress: ShowProgress) -> tuple[int, str]:
    digest, size = xxhash.xxh3_128(), 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            show_progress()
    return size, digest.hexdigest()
