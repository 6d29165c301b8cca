"""trainerd.toml: what the owner of a daemon may set, each with its default."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trainerd.contracts.errors import Finding, SpecificationRefused

LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Settings:
    """The settings of one daemon, read once at its start."""

    slots: int = 1  # how many runs train at the same time
    gpus: tuple[str, ...] | None = None  # UUIDs of the GPUs that runs may have; None: all of the machine
    grace_seconds: float = 120.0  # how long an orderly stop waits for checkpoints before it kills
    hang_seconds: float = (
        300.0  # how long a trainer may show no sign of life before it is killed; six times that at first
    )
    watchdog_seconds: float = 30.0  # how long supervisor or control plane may show no sign of life before it is killed
    log_level: str = "info"


def read_settings(path: Path) -> Settings:
    """The settings in `path`; the defaults where it does not exist. Raises SpecificationRefused with all problems."""
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecificationRefused([Finding(str(error), file=str(path))]) from error
    known = {setting.name: setting.default for setting in fields(Settings)}
    findings = [problem for key, value in given.items() if (problem := _problem_with(key, value, known, path))]
    if findings:
        raise SpecificationRefused(findings)
    chosen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return Settings(**chosen)


def _problem_with(key: str, value: Any, known: dict[str, Any], path: Path) -> Finding | None:
    if key not in known:
        nearest = get_close_matches(key, known, n=1)
        return Finding("unknown setting", file=str(path), key=key, suggestion=nearest[0] if nearest else None)
    expected = _expectation(key, value)
    return Finding("not usable", file=str(path), key=key, expected=expected, found=repr(value)) if expected else None


def _expectation(key: str, value: Any) -> str | None:
    """What `key` should have held instead of `value`, or None if it is right."""
    match key:
        case "slots":
            return None if type(value) is int and value > 0 else "a whole number above 0"
        case "gpus":
            strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
            return None if strings else "a list of GPU UUIDs"
        case "log_level":
            return None if value in LOG_LEVELS else f"one of {', '.join(LOG_LEVELS)}"
        case _:
            return None if type(value) in (int, float) and value > 0 else "a number of seconds above 0"
