"""How truly a run goes on: what two values, and what the circumstances of a resume, say of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from trainerd.contracts.states import Exactness

# Where only the rounding differs (other threads, another processor), the losses of about a hundred replayed steps stay
# within this of each other; docs/architecture.md, "Exactness", says what was tried. Longer replays may drift further
# apart and are then called worse than they are, never better.
RELATIVE_TOLERANCE = 1e-3

_ORDER = list(Exactness)


def worst(labels: Iterable[Exactness]) -> Exactness:
    """The worst of `labels`; exact where there are none."""
    return max(labels, key=_ORDER.index, default=Exactness.EXACT)


def compare_values(was: Any, now: Any) -> Exactness:
    """What a value that came again says: exact only if it is the same, bit for bit; NaN repeats NaN.

    Mappings are as true as the worst of their values. Whole numbers, words and what is missing cannot be nearly right.
    """
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return worst(compare_values(was.get(key), now.get(key)) for key in was.keys() | now.keys())
    if was == now or (was != was and now != now):
        return Exactness.EXACT
    if isinstance(was, float) and isinstance(now, float):
        is_near = math.isclose(was, now, rel_tol=RELATIVE_TOLERANCE)
        return Exactness.WITHIN_TOLERANCE if is_near else Exactness.DIVERGED_ON_RESUME
    return Exactness.DIVERGED_ON_RESUME


def label_resume(
    *, differs_in_environment: bool, repeats_bits: bool, is_whole: bool, has_other_inputs: bool, effect: Exactness
) -> Exactness:
    """The label of a resume before any step has been repeated.

    `repeats_bits`: whether the same steps on this device give the same bits. `is_whole`: whether all of the state came
    back as it was saved. `has_other_inputs`: whether the data, the user's code or the precision has changed.
    `effect`: what the changes of the configuration that were applied do to the steps.
    """
    if has_other_inputs or not is_whole:
        return Exactness.DIVERGED_ON_RESUME
    own = Exactness.WITHIN_TOLERANCE if differs_in_environment or not repeats_bits else Exactness.EXACT
    return worst([own, effect])
