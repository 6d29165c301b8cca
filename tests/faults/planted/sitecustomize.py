"""Takes one protection out of every process that starts with this folder on PYTHONPATH: the one that PLANTED_BUG names.

Python imports a module of this name at its start (see `site`). The bug is planted when the module that has the
protection is imported; nothing else is touched.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Plant = Callable[[Any], None]


def _leave_processes_alone(host: Any) -> None:
    def look_away(self: Any) -> None:
        self._may_be_left_behind = False

    host.WorkerHost._kill_left_behind = look_away


def _watch_nobody(part: Any) -> None:
    part.Part.kill_if_silent = lambda *_, **__: None


def _call_every_silence_fine(liveness: Any) -> None:
    liveness.Liveness._judge = lambda _: liveness.Health.FINE


def _retry_for_ever(retry: Any) -> None:
    retry.delay_seconds = lambda *_: 0.0


def _draw_other_random_numbers(random_state: Any) -> None:
    random_state.restore = lambda *_: None


BUGS: dict[str, tuple[str, Plant]] = {
    "leave processes alone": ("trainerd.worker.host", _leave_processes_alone),
    "watch nobody": ("trainerd.embedded.part", _watch_nobody),
    "call every silence fine": ("trainerd.worker.liveness", _call_every_silence_fine),
    "retry for ever": ("trainerd.supervisor.retry", _retry_for_ever),
    "draw other random numbers": ("trainerd.training.random_state", _draw_other_random_numbers),
}


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads the one module as usual, and plants the bug in it."""

    def __init__(self, module: str, plant: Plant) -> None:
        self._module = module
        self._plant = plant
        self._loader: Any = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._plant(module)


if "PLANTED_BUG" in os.environ:
    sys.meta_path.insert(0, _Planter(*BUGS[os.environ["PLANTED_BUG"]]))
