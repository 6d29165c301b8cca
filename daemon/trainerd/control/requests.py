"""The bodies that requests may have. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field, field_validator

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, description="The same key is the same order."),
]


class Body(BaseModel):
    """What is sent is what is meant: no unknown fields, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SubmittedFile(Body):
    """One configuration to check and queue."""

    path: str = Field(description="Absolute path of the file: relative paths in it start from its directory.")
    text: str = Field(description="What is in the file, YAML.")
    overrides: list[str] = Field(default=[], description="key=value, applied in this order.")
    name: str | None = Field(None, description="Replaces the name in the file.")
    priority: int = Field(0, description="Higher is first.")
    after: int | str | None = Field(None, description="The run, by id or name, that has to complete first.")
    hold: bool = Field(False, description="Wait for resume before queueing.")

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError("must be absolute")
        return path


class SubmitRequest(Body):
    """Configurations that are admitted together or not at all."""

    runs: list[SubmittedFile] = Field(min_length=1, description="One run each.")
    dry_run: bool = Field(False, description="Check only; queue nothing.")


class StopRequest(Body):
    """End a run in order."""

    checkpoint: bool = Field(True, description="Commit a checkpoint of the step at which it stops.")


class CancelRequest(Body):
    """Take a run that has not started out of the queue."""
