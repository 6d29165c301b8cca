"""Records, commands and journal lines for the tests of the supervisor's decisions."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import WAITING, State
from trainerd.supervisor.apply import Effects, Situation

TIME = "2026-11-23T03:00:00.000000+00:00"


def a_spec(gpus: int | str = 0, max_failures: int = 3, backoff_seconds: float = 5.0) -> dict[str, Any]:
    """As much of a resolved specification as the supervisor reads."""
    return {
        "resources": {"gpus": gpus, "cpus": None},
        "trainer": {"device": "auto"},
        "retry": {"max_failures": max_failures, "backoff_seconds": backoff_seconds},
    }


def a_run(run_id: int = 1, state: State = State.QUEUED, **facts: Any) -> RunRecord:
    defaults: dict[str, Any] = {
        "name": f"run{run_id}",
        "owner": 1000,
        "priority": 0,
        "place": run_id,
        "after": None,
        "created_at": TIME,
        "spec": a_spec(),
    }
    return RunRecord(id=run_id, state=state, **{**defaults, **facts})


def a_submission(run_id: int = 1, **wishes: Any) -> dict[str, Any]:
    """One run of a submit's body."""
    defaults = {"id": run_id, "name": f"run{run_id}", "spec": a_spec(), "spec_yaml": "name: run\n", "owner": 1000}
    return {**defaults, "priority": 0, "after": None, "hold": False, **wishes}


def a_command(kind: CommandKind, number: int = 1, **body: Any) -> Command:
    return Command(number, TIME, kind, body, f"key-{number}")


def a_line(event: str, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    return {"time": TIME, "event": event, "attempt": attempt, **fields}


def started(attempt: int = 1) -> dict[str, Any]:
    return a_line("started", attempt, pid=4711, steps_per_epoch=10, monitor={"name": "val_loss", "mode": "min"})


def ended(state: str, attempt: int = 1, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    facts = {"exit_code": None, "signal": None, "error": None, "step": 10, "epoch": 1, **fields}
    return a_line("ended", attempt, state=state, reason=reason, **facts)


def a_checkpoint(step: int, attempt: int = 1) -> dict[str, Any]:
    return a_line("checkpoint", attempt, step=step, epoch=step // 10, path=f"step-{step:09d}", bytes=1, kind="periodic")


def an_epoch(epoch: int, val_loss: float, best: dict[str, Any] | None, attempt: int = 1) -> dict[str, Any]:
    return a_line(
        "epoch", attempt, epoch=epoch, step=10 * epoch, train_loss=1.0, val_loss=val_loss, metrics={}, best=best
    )


def a_situation(
    *records: RunRecord,
    gpu_count: int = 0,
    admitted: Container[int] = (),
    newest_proven: int = 0,
    removed_by: Mapping[int, int] = {},
) -> Situation:
    by_id = {record.id: record for record in records}
    waiting = [record for record in records if record.state in WAITING]
    return Situation(
        look_up=by_id.get,
        was_admitted=lambda run_id: run_id in admitted,
        gpu_count=gpu_count,
        newest_proven=newest_proven,
        waiting=lambda: waiting,
        removed_by=removed_by.get,
    )


def problem_of(effects: Effects) -> str:
    assert effects.problem is not None
    assert effects == Effects(problem=effects.problem), "a refused order changes nothing"
    return str(effects.problem["detail"])
