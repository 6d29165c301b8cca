"""steps.bin: which batch each step since the newest checkpoint took, and its loss. The trainer alone writes it.

A step that is repeated after a resume is compared with what stands here. Records have a fixed size and carry a check of
their own, so that what a killed writer or a power cut leaves behind is told from a true record and dropped. They are in
the page cache once `append` returns: they survive the trainer, and nothing waits for the disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainerd.contracts.json_lines import MakeRoom, write_all
from trainerd.data.hashing import Words, random_words

# step; batch: xxh3 of its sample indices; loss: float64, compared by its bits; check: of the other three.
_RECORD = np.dtype([("step", "<u8"), ("batch", "<u8"), ("loss", "<f8"), ("check", "<u8")])
_ROOM = 1 << 20  # records, 32 MiB: later steps are not recorded until a checkpoint is committed

Steps = NDArray[Any]  # of _RECORD, in ascending order of the steps


def steps_of(numbers: NDArray[np.int64], batches: NDArray[np.uint64], losses: NDArray[np.float64]) -> Steps:
    """The records of the steps with these rising numbers. Many at once cost 50 ns each."""
    steps = np.empty(len(losses), _RECORD)
    steps["step"] = numbers
    steps["batch"] = batches
    steps["loss"] = losses
    steps["check"] = _checks(steps)
    return steps


class StepRecord:
    """Appends the steps that are new; those of earlier attempts behind the resumed checkpoint are in `earlier`."""

    def __init__(self, path: Path, resume_step: int, make_room: MakeRoom | None = None) -> None:
        """Drops what is torn at the end of the file. `make_room`: see JsonLinesWriter. Raises OSError."""
        self._path = path
        self._make_room = make_room
        self._fd = _open(path)
        stored = _read_sound(self._fd)
        os.ftruncate(self._fd, stored.nbytes)
        self.earlier: Steps = stored[stored["step"] > resume_step]
        self._count, self._oldest, self._newest = _extent(stored)

    def append(self, steps: Steps) -> None:
        """Append those later than all that stand here, while there is room. Raises OSError, and then adds nothing."""
        new = steps[steps["step"] > self._newest][: max(0, _ROOM - self._count)]
        if not len(new):
            return
        end = self._count * _RECORD.itemsize
        try:
            write_all(self._fd, new.tobytes(), self._make_room)
        except OSError:
            os.ftruncate(self._fd, end)  # else the next record would be glued to the piece
            raise
        self._oldest = self._oldest if self._count else int(new["step"][0])
        self._newest = int(new["step"][-1])
        self._count += len(new)

    def cut(self, committed_step: int) -> None:
        """Drop the steps that the checkpoint of `committed_step` has made unrepeatable. Raises OSError."""
        if not self._count or committed_step < self._oldest:
            return
        if committed_step >= self._newest:
            os.ftruncate(self._fd, 0)
            self._count = 0
            return
        stored = _read_sound(self._fd)
        self._replace(stored[stored["step"] > committed_step])

    def close(self) -> None:
        os.close(self._fd)

    def _replace(self, steps: Steps) -> None:
        """Put `steps` in the place of the file: a killed writer leaves the old one or the new one."""
        aside = self._path.with_name(f".{self._path.name}.tmp")
        aside.unlink(missing_ok=True)
        new = _open(aside)
        try:
            write_all(new, steps.tobytes(), self._make_room)
        except OSError:
            os.close(new)
            raise
        os.replace(aside, self._path)
        os.close(self._fd)
        self._fd = new
        self._count, self._oldest, self._newest = _extent(steps)


def _extent(steps: Steps) -> tuple[int, int, int]:
    """(how many, the first, the last); zeros where there are none."""
    return (len(steps), int(steps["step"][0]), int(steps["step"][-1])) if len(steps) else (0, 0, 0)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _read_sound(fd: int) -> Steps:
    """The records up to the first that is torn, damaged or out of order."""
    size = os.fstat(fd).st_size
    content = b""
    while len(content) < size and (block := os.pread(fd, size - len(content), len(content))):
        content += block
    steps = np.frombuffer(content[: len(content) - len(content) % _RECORD.itemsize], _RECORD)
    is_sound = steps["check"] == _checks(steps)
    is_sound[1:] &= steps["step"][1:] > steps["step"][:-1]
    damaged = np.flatnonzero(~is_sound)
    return steps[: damaged[0]] if len(damaged) else steps


def _checks(steps: Steps) -> Words:
    check = np.zeros(1, np.uint64)
    for words in (steps["step"], steps["batch"], np.ascontiguousarray(steps["loss"]).view(np.uint64)):
        check = random_words(check, words.astype(np.uint64))
    return check
