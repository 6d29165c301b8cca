"""What may load what: the floors of docs/architecture.md, and how light the light processes stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "numpy", "h5py", "pyarrow", "safetensors", "tensorboardX"}
DAEMON_ONLY = {"pydantic", "fastapi", "uvicorn", "starlette", "ruamel", "httpx", "asyncio"}


def packages_loaded_by(statement: str) -> set[str]:
    """The top-level packages in sys.modules of a fresh interpreter after `statement`."""
    report = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_floors_of_the_architecture_hold() -> None:
    """The contracts of import-linter in pyproject.toml."""
    checker = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([checker], cwd=PROJECT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["trainerd.supervisor.process", "trainerd.control.process"])
def test_supervisor_and_control_plane_load_no_torch(module: str) -> None:
    """They live for months beside the training: what they do not load costs nobody memory."""
    assert not packages_loaded_by(f"import {module}") & HEAVY


def test_trainctl_loads_nothing_of_the_daemons_heavy_parts() -> None:
    """With every command imported: a person waits for its start each time."""
    statement = (
        "import importlib, pkgutil, trainctl.main, trainctl.commands\n"
        "for found in pkgutil.iter_modules(trainctl.commands.__path__):\n"
        "    importlib.import_module(f'trainctl.commands.{found.name}')"
    )

    assert not packages_loaded_by(statement) & (HEAVY | DAEMON_ONLY)


def test_the_programs_help_loads_no_torch() -> None:
    assert not packages_loaded_by("import trainerd.main") & HEAVY
