"""metrics.jsonl: each (split, step) once, also after a resume. The trainer's rank 0 alone writes it.

A resumed attempt starts from a checkpoint and repeats the steps behind it. The lines of those steps are there already:
they are compared, and what differs is reported, never rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainerd.contracts.json_lines import JsonLinesWriter, read_lines_backwards

_NOT_REPEATED = frozenset({"time", "samples_per_second"})  # true of one attempt only


@dataclass(frozen=True)
class Difference:
    """A replayed line that did not repeat its value."""

    step: int
    split: str
    key: str
    was: Any
    now: Any


class MetricLog:
    """Appends metric lines after `resume_step`; earlier lines stand, later ones are compared when they come again."""

    def __init__(self, path: Path, resume_step: int, report: Callable[[Difference], None]) -> None:
        """`report` hears of the first difference: on a GPU, where steps need not repeat, all of them may differ."""
        self._lines = JsonLinesWriter(path)
        self._report = report
        self._has_reported = False
        self._replayed = {(line["split"], line["step"]): line for line in _lines_after(path, resume_step)}

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append the lines that are new. Raises OSError if the disk refuses."""
        self._lines.append(*[line for line in lines if not self._is_replayed(line)])

    def sync(self) -> None:
        self._lines.sync()

    def close(self) -> None:
        self._lines.close()

    def _is_replayed(self, line: dict[str, Any]) -> bool:
        before = self._replayed.pop((line["split"], line["step"]), None)
        if before is None:
            return False
        for key in (before.keys() | line.keys()) - _NOT_REPEATED:
            was, now = before.get(key), line.get(key)
            is_same = was == now or (was != was and now != now)  # NaN repeats NaN
            if not is_same and not self._has_reported:
                self._has_reported = True
                self._report(Difference(line["step"], line["split"], key, was, now))
        return True


def _lines_after(path: Path, step: int) -> Iterator[dict[str, Any]]:
    """The lines of later steps than `step`, and the validation line that an epoch's end adds at the same step."""
    for line, _ in read_lines_backwards(path):
        if line["step"] < step:
            return
        yield line
