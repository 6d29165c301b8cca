"""Ctrl+C while a run is watched: it ends the watching and never the run, and says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trainctl.terminal import say


@contextmanager
def detachable(run_ids: Sequence[int], advice: str = "goes on; stop it with: trainctl stop") -> Iterator[None]:
    """Say what becomes of the runs when Ctrl+C ends what is inside; the interrupt goes on to `main`."""
    try:
        yield
    except KeyboardInterrupt:
        say("\n".join(f"run {run_id} {advice} {run_id}" for run_id in run_ids))
        raise
