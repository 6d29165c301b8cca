"""Which values a field forbids: outside its range, or not finite. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Forbidden:
    """The first sample of a block that holds a forbidden value."""

    position: int  # along the first axis of the block
    expected: str
    found: str


def find_forbidden(values: NDArray[Any], allowed: tuple[float, float] | None, *, finite: bool) -> Forbidden | None:
    """The first sample in `values` (N, ...) that holds a value outside `allowed` (both ends belong to it), or NaN or
    infinity where `finite` is asked for; None if there is none. NaN, where it is permitted, is inside every range.
    """
    is_judged_finite = finite and values.dtype.kind == "f"
    if not values.size or (allowed is None and not is_judged_finite):
        return None
    if _is_beyond_doubt(values, allowed):
        return None
    bad = ~np.isfinite(values) if is_judged_finite else np.zeros(values.shape, bool)
    if allowed is not None:
        bad |= (values < allowed[0]) | (values > allowed[1])
    places = np.flatnonzero(bad)
    if not places.size:
        return None
    value = values.reshape(-1)[places[0]]
    position = int(places[0]) // (values.size // len(values))
    return Forbidden(position, _expectation(value, allowed), str(value))


def _is_beyond_doubt(values: NDArray[Any], allowed: tuple[float, float] | None) -> bool:
    """Whether the smallest and the largest value already settle it: two passes without a temporary array.

    NaN makes both NaN, so that every comparison fails and the careful way decides.
    """
    smallest, largest = values.min(), values.max()
    low, high = allowed or (-np.inf, np.inf)
    is_inside = bool(smallest >= low and largest <= high)
    return is_inside and bool(np.isfinite(smallest) and np.isfinite(largest))


def _expectation(value: Any, allowed: tuple[float, float] | None) -> str:
    if allowed is None or not np.isfinite(value):
        return "finite values"
    return f"values in [{allowed[0]:g}, {allowed[1]:g}]"
