"""Every error becomes a problem document, once, in one place."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI

from trainerd.contracts.errors import DiskError, NoSuchRun, NotAllowed, Unreachable, UsageError, describe
from trainerd.control import problems
from trainerd.control.problems import AnsweredProblem, problem_response


@pytest.mark.parametrize(
    "error", [UsageError("x"), NoSuchRun("7"), NotAllowed("x"), Unreachable("x"), DiskError("full", "/a")]
)
def test_an_error_of_ours_is_described_as_the_contract_says(error: Exception) -> None:
    response = problem_response(error)

    assert json.loads(bytes(response.body)) == describe(error)
    assert response.status_code == describe(error)["status"]


def test_a_problem_that_the_supervisor_described_is_passed_on_word_for_word() -> None:
    document = {**describe(NotAllowed("not now")), "detail": "in its own words", "extra": 1}

    response = problem_response(AnsweredProblem(document))

    assert json.loads(bytes(response.body)) == document
    assert response.status_code == 409


def test_a_bug_of_ours_is_a_problem_document_too_and_still_reaches_the_servers_log() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError("missing")

    sent: list[dict[str, Any]] = []
    with pytest.raises(KeyError):
        asyncio.run(_get(app, "/bug", sent))

    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["detail"] == "KeyError: 'missing'"


async def _get(app: FastAPI, path: str, sent: list[dict[str, Any]]) -> None:
    """Ask an ASGI app, as a server does."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "root_path": ""}
    await app(scope, receive, send)
