"""The control socket as any HTTP client sees it: one request, one answer, nothing is tried again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainctl import http_client
from trainerd.contracts import unix_sockets

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    document: Json
    headers: dict[str, str]


class RawClient:
    """Every method raises OSError where there is no answer."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._socket = home / "control.sock"

    def get(self, target: str) -> Reply:
        return self._ask("GET", target, {}, None)

    def post(self, target: str, body: Json, key: str | None = None) -> Reply:
        headers = {"Idempotency-Key": key or os.urandom(8).hex()}
        return self._ask("POST", target, headers, json.dumps(body).encode())

    def submit(self, configuration: Path, *each: Json, key: str | None = None) -> Reply:
        """One run of this configuration, or one for each of the given wishes."""
        file = {"path": str(configuration), "text": configuration.read_text()}
        return self.post("/v1/runs", {"runs": [{**file, **wishes} for wishes in each or [{}]]}, key)

    def _ask(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> Reply:
        connection = unix_sockets.connect(self._socket, timeout_seconds=20)
        try:
            response = http_client.exchange(connection, method, target, headers, body)
            return Reply(response.status, json.loads(response.body()), dict(response.headers))
        finally:
            connection.close()
