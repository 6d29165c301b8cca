"""Looking at a configuration without a daemon: a child process of the same interpreter, `trainerd inspect ...`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from trainerd.contracts.errors import ExitCode, TrainerdError

Json = dict[str, Any]

_CODES = frozenset(ExitCode)


class InspectionError(TrainerdError):
    """The child ended without an answer; it has said why on its stderr."""

    def __init__(self, message: str, returned: int) -> None:
        super().__init__(message)
        self._exit_code = ExitCode(returned) if returned in _CODES and returned else ExitCode.FAILED

    @property
    def exit_code(self) -> ExitCode:
        return self._exit_code


def inspect(*arguments: str) -> Json:
    """The document that `trainerd inspect ARGUMENTS` prints. Raises InspectionError where it prints none."""
    command = [sys.executable, "-m", "trainerd.main", "inspect", *arguments]
    ended = subprocess.run(command, capture_output=True, check=False)
    try:
        document = json.loads(ended.stdout)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        said = ended.stderr.decode("utf-8", "replace").strip().removeprefix("trainerd: ")
        raise InspectionError(said or f"the inspector ended with {ended.returncode} and no answer", ended.returncode)
    return document
