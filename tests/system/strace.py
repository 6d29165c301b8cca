"""Programs under strace(1), which counts their system calls, and kills them or lets a call fail at a chosen one.

Each call is known by its name and by how many of this name its thread has made by then. So a program that does the
same each time can be stopped just before every single call: SIGKILL at its entry keeps the call from happening.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.polling import poll

KILL = "signal=KILL"
_LINE = re.compile(r"^\d+ +(?P<name>\w+)\(")


@dataclass(frozen=True)
class Call:
    """The `number`th call of this name that a thread makes, from 1; `line` is how strace showed it."""

    name: str
    number: int
    line: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.number}: {self.line}"

    def to(self, fate: str) -> str:
        """This call's fate as strace takes it: KILL, `error=EIO`, and so on."""
        return f"{self.name}:{fate}:when={self.number}"


def under_strace(
    command: Sequence[str | Path], log: Path, *, names: Iterable[str] = (), injected: Iterable[str] = ()
) -> list[str | Path]:
    """The command that runs `command` so: calls of `names` (and all that are injected) are logged, with paths."""
    wishes = list(injected)
    traced = ",".join(sorted({*names, *(wish.split(":")[0] for wish in wishes)}))
    each = [word for wish in wishes for word in ("-e", f"inject={wish}")]
    return ["strace", "-f", "-qq", "-y", "-s", "0", "-o", log, "-e", f"trace={traced}", *each, *command]


def run_under_strace(
    command: Sequence[str | Path], log: Path, *, names: Iterable[str] = (), injected: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    words = under_strace(command, log, names=names, injected=injected)
    return subprocess.run(words, capture_output=True, text=True, env=same_every_time(), timeout=60, check=False)


def same_every_time() -> dict[str, str]:
    """An environment in which Python starts with the same calls each time."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def calls_on(place: Path, log: Path) -> list[Call]:
    """The calls in a log that name `place` or what lies in it, in the order in which they were made."""
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, name = line.split()[0], match["name"]
        counts[thread, name] += 1
        if str(place) in line:
            found.append(Call(name, counts[thread, name], line))
    return found


def spread(calls: list[Call], most: float) -> list[Call]:
    """About `most` of the calls, evenly spread; all of them where there are no more."""
    return calls[:: max(1, int(len(calls) // most))]


@contextmanager
def troubled(pid: int, injected: str, log: Path) -> Iterator[None]:
    """The calls of a living process fail in this way until the block ends; those of its children do not."""
    strace = subprocess.Popen(["strace", "-qq", "-o", log, "-e", f"inject={injected}", "-p", str(pid)])
    try:
        poll(lambda: tracer_of(pid) == strace.pid, "strace watches")
        yield
    finally:
        strace.terminate()
        strace.wait()
        poll(lambda: tracer_of(pid) == 0, "strace has let go")


def tracer_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return int(status.split("TracerPid:")[1].split()[0])
