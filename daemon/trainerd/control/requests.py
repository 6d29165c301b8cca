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


Priority = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]


class SubmittedFile(Body):
    """One configuration to check and queue."""

    path: str = Field(description="Absolute path of the file: relative paths in it start from its directory.")
    text: str = Field(description="What is in the file, YAML.")
    overrides: list[str] = Field(default=[], description="key=value, applied in this order.")
    name: str | None = Field(None, description="Replaces the name in the file.")
    priority: Priority = Field(0, description="Higher is first.")
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


class PauseRequest(Body):
    """Free the machine: a queued run is held; one that trains commits a checkpoint and ends its trainer."""


class GoingOnRequest(Body):
    """Go on with a run that has trained before, as it was or with a changed configuration."""

    overrides: list[str] = Field(default=[], description="key=value, applied to the run's configuration in this order.")
    accept_changed_data: bool = Field(False, description="Go on although the data is not what it was.")


class ResumeRequest(GoingOnRequest):
    """Queue a held, paused or stopped run; it goes on from its newest checkpoint."""


class RetryRequest(GoingOnRequest):
    """Queue a failed or cancelled run again, with a fresh budget of retries."""

    from_start: bool = Field(False, description="Queue a new run of the same configuration instead.")


class CheckpointRequest(Body):
    """Have a run commit a checkpoint at its next step; it stays until the run is removed."""


class StopRequest(Body):
    """End a run in order."""

    checkpoint: bool = Field(True, description="Commit a checkpoint of the step at which it stops.")


class KillRequest(Body):
    """End a run's trainer at once, without a checkpoint."""


class CancelRequest(Body):
    """Take a run that has not started out of the queue."""


class RemoveRequest(Body):
    """Delete a run that has ended: its directory with every checkpoint, and all that is known about it."""


class MoveRequest(Body):
    """Change a waiting run's place in the queue: exactly one of the three."""

    priority: Priority | None = Field(None, description="Its new priority; higher is first.")
    first: bool = Field(False, description="Before all others, with the highest priority that any of them has.")
    before: int | str | None = Field(None, description="Just before this waiting run, with that one's priority.")
