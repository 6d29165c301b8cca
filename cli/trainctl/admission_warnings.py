"""What admission found worth a warning: told, and no reason to refuse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trainctl.terminal import say
from trainerd.contracts.errors import Finding


def say_warnings(warnings: Iterable[dict[str, Any]]) -> None:
    for warning in warnings:
        say(f"warning: {Finding.from_json(warning)}")
