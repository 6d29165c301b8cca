"""One figure: a ratio or an amount, its goal, and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Figure:
    """What was measured. `at_least` and `at_most` are goals; None: none on this side."""

    name: str
    value: float
    unit: str = "x"
    at_least: float | None = None
    at_most: float | None = None
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        enough = self.at_least is None or self.value >= self.at_least
        return enough and (self.at_most is None or self.value <= self.at_most)

    def __str__(self) -> str:
        goals = [f">= {self.at_least:g}"] if self.at_least is not None else []
        goals += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        verdict = f"  (goal {' and '.join(goals)}: {'met' if self.is_met else 'MISSED'})" if goals else ""
        parts = "".join(f"\n    {name:<44} {text}" for name, text in self.parts.items())
        return f"{self.name:<48} {self.value:.3g} {self.unit}{verdict}{parts}"


def ratio_of_medians(numerators: list[float], denominators: list[float]) -> float:
    return median(numerators) / median(denominators)


def milliseconds(seconds: list[float]) -> str:
    """The median of durations, with the spread."""
    return f"{median(seconds) * 1e3:.1f} ms  ({min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})"
