"""Sequences of a monitored metric, and the epoch after which each must stop, written down from the definition:

an improvement is strictly beyond best -/+ min_delta; the run stops when the epochs since the best reach patience;
warm-up epochs count for neither; NaN and infinity are no improvement; with no best yet, epochs count from its end.

All values are sums of powers of two, so that the edges are exact in float32 and float64 alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAN = float("nan")
INFINITY = float("inf")


@dataclass(frozen=True)
class Sequence:
    """`values` of epochs 1, 2, ...; `stops_after` is the expected epoch, None: the run goes to its end."""

    name: str
    values: list[float]
    stops_after: int | None
    patience: int
    min_delta: float = 0.0
    mode: Literal["min", "max"] = "min"
    warmup_epochs: int = 0
    lightning_agrees: bool = True


SEQUENCES = [
    # Equal is not strictly better: best is epoch 2, and 2 + 3 = 5.
    Sequence("plateau", [1.0, 0.5, 0.5, 0.5, 0.5, 0.5], 5, patience=3),
    Sequence("improves in every epoch", [5.0, 4.0, 3.0, 2.0, 1.0], None, patience=1),
    # Best is epoch 2, and 2 + 2 = 4.
    Sequence("gets worse", [3.0, 1.0, 2.0, 2.5, 2.75], 4, patience=2),
    Sequence("shortest patience", [1.0, 1.0, 0.5], 2, patience=1),
    # Seven epochs since the best when the run ends.
    Sequence("patience outlasts the run", [1.0] * 8, None, patience=8),
    # Best is 280 with the smallest value; 280 + 50 = 330.
    Sequence("overnight", [400.0 - epoch for epoch in range(1, 281)] + [120.0] * 100, 330, patience=50),
    Sequence("negative values", [-1.0, -2.0, -2.0, -1.5, -1.5], 4, patience=2),
    # 0.75 is not strictly below 1 - 0.25: best stays epoch 1, and 1 + 2 = 3.
    Sequence("exactly min_delta better", [1.0, 0.75, 0.75, 0.5], 3, patience=2, min_delta=0.25),
    # 0.625 < 0.75 counts; 0.5 and 0.375 are not below 0.625 - 0.25 = 0.375: best is epoch 2, and 2 + 2 = 4.
    Sequence("just beyond min_delta", [1.0, 0.625, 0.5, 0.375, 0.25], 4, patience=2, min_delta=0.25),
    # Against the best, not against the epoch before: 0.6875 < 1 - 0.25 in epoch 4, and 4 + 3 = 7.
    Sequence("drifts down", [1.0, 0.9375, 0.875, 0.6875, 0.6875, 0.6875, 0.6875, 0.0], 7, patience=3, min_delta=0.25),
    Sequence("larger is better", [0.125, 0.5, 0.5, 0.25, 0.75], 4, patience=2, mode="max"),
    # 0.5 is not strictly above 0.25 + 0.25, 0.5625 is: best is epoch 3, and 3 + 2 = 5.
    Sequence("min_delta upwards", [0.25, 0.5, 0.5625, 0.5, 0.5, 1.0], 5, patience=2, min_delta=0.25, mode="max"),
    # Epoch 4 would have been the third without improvement: best is epoch 4, and 4 + 3 = 7.
    Sequence("improves at the last moment", [1.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0, 0.25], 7, patience=3),
    # One epoch too late: 1 + 3 = 4, and the 0.5 of epoch 5 is never seen.
    Sequence("improves a moment too late", [1.0, 2.0, 2.0, 2.0, 0.5], 4, patience=3),
    # Epoch 2 counts as one without improvement, epoch 3 is the best, and 3 + 2 = 5.
    Sequence("NaN now and then", [1.0, NAN, 0.5, NAN, NAN, 0.25], 5, patience=2),
    # No best ever: counted from epoch 0.
    Sequence("nothing but NaN", [NAN] * 5, 3, patience=3),
    # Infinity first is no improvement and is not yet two epochs; best is epoch 2, and 2 + 2 = 4.
    Sequence("infinity on the bad side", [INFINITY, 1.0, INFINITY, INFINITY, 0.5], 4, patience=2),
    # Epoch 2 is none, epoch 3 is the best, and 3 + 2 = 5. Lightning takes minus infinity for the best of all.
    Sequence("infinity on the good side", [1.0, -INFINITY, 0.5, 2.0, 2.0], 5, patience=2, lightning_agrees=False),
    # 0.125 came in the warm-up and does not count: best is epoch 3, and 3 + 2 = 5. Lightning knows no warm-up.
    Sequence("warm-up", [0.125, 0.125, 1.0, 2.0, 2.0], 5, patience=2, warmup_epochs=2, lightning_agrees=False),
    # No best after the warm-up of 3: 3 + 2 = 5.
    Sequence("NaN beyond the warm-up", [1.0] + [NAN] * 6, 5, patience=2, warmup_epochs=3, lightning_agrees=False),
]
