"""Every error as application/problem+json: the one place where an exception becomes an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from trainerd.contracts.errors import ProblemType, StateAway, TrainerdError, UsageError, describe


@dataclass
class AnsweredProblem(TrainerdError):
    """A problem that another process has described already: it is passed on word for word."""

    document: dict[str, Any]

    def __str__(self) -> str:
        return str(self.document.get("detail", ""))


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document; what is our own bug is logged by the server besides."""
    app.add_exception_handler(TrainerdError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(Exception, _answer)


def problem_response(error: Exception) -> Response:
    """The answer to a request that ended in `error`."""
    document = error.document if isinstance(error, AnsweredProblem) else describe(error)
    status = document.get("status", ProblemType.FAILED.http_status)
    headers = {"Retry-After": "1"} if isinstance(error, StateAway) else None
    return Response(json.dumps(document), status_code=status, headers=headers, media_type="application/problem+json")


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        return problem_response(UsageError("; ".join(_sentence(problem) for problem in error.errors())))
    if isinstance(error, HTTPException):
        return problem_response(UsageError(f"{request.method} {request.url.path}: {error.detail}"))
    return problem_response(error)


def _sentence(problem: dict[str, Any]) -> str:
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
