"""Whether a run that crashed starts again, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """The `retry` section of a specification."""

    max_failures: int  # consecutive failures without a newer checkpoint that end the run
    backoff_seconds: float  # wait before the second retry; doubles with each one after it


def delay_seconds(policy: RetryPolicy, failures: int) -> float | None:
    """How long to wait after the `failures`-th consecutive failure (from 1); None: the run has failed for good.

    The first retry comes at once: most crashes come from outside and do not repeat.
    """
    if failures >= policy.max_failures:
        return None
    return 0.0 if failures == 1 else policy.backoff_seconds * 2.0 ** (failures - 2)
