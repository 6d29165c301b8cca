"""Problems that the daemon reports (application/problem+json, RFC 9457), as errors of this process."""

from __future__ import annotations

from typing import Any

from trainerd.contracts.errors import ExitCode, Finding, TrainerdError

_CODES = frozenset(ExitCode)


class ReportedError(TrainerdError):
    """What the daemon answered instead of doing as asked. `str()` has one line for each finding."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document)
        self.findings = [Finding.from_json(finding) for finding in document.get("findings") or []]
        self.changes: list[dict[str, Any]] = document.get("changes") or []  # of the configuration
        self._detail = str(document.get("detail") or document.get("title") or "the daemon reports a problem")
        code = document.get("exit_code")
        self._exit_code = ExitCode(code) if code in _CODES else ExitCode.FAILED

    @property
    def exit_code(self) -> ExitCode:
        return self._exit_code

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings) or self._detail
