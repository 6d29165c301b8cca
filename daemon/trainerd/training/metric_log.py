"""metrics.jsonl: each (split, step) once, also after a resume. The trainer's rank 0 alone writes it.

A resumed attempt starts from a checkpoint and repeats the steps behind it. The lines of those steps are there already:
they are never written again. Whether they come out the same is for `replay` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainerd.contracts.json_lines import JsonLinesWriter, MakeRoom, read_lines_backwards

Lines = dict[tuple[str, int], dict[str, Any]]  # by (split, step)


class MetricLog:
    """Appends metric lines; those of earlier attempts behind the resumed checkpoint are in `earlier`."""

    def __init__(self, path: Path, resume_step: int, make_room: MakeRoom | None = None) -> None:
        self._lines = JsonLinesWriter(path, make_room)
        self.earlier: Lines = {(line["split"], line["step"]): line for line in _lines_after(path, resume_step)}
        self._newest: dict[str, int] = {}
        for split, step in self.earlier:
            self._newest[split] = max(step, self._newest.get(split, 0))

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append the lines that are later than all of their split. Raises OSError if the disk refuses."""
        self._lines.append(*[line for line in lines if line["step"] > self._newest.get(line["split"], -1)])

    def sync(self) -> None:
        self._lines.sync()

    def close(self) -> None:
        self._lines.close()


def _lines_after(path: Path, step: int) -> Iterator[dict[str, Any]]:
    """The lines of later steps than `step`, and the validation line that an epoch's end adds at the same step."""
    for line, _ in read_lines_backwards(path):
        if line["step"] < step:
            return
        if line["step"] > step or line["split"] == "val":
            yield line
