"""What the decisions about commands rest on, and what they come to: the records of `apply` and of its verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trainerd.contracts.commands import Command
from trainerd.contracts.errors import Finding, NoSuchRun, NotAllowed, SpecificationRefused
from trainerd.contracts.pages import Order
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, State
from trainerd.supervisor.gpus import gpus_needed


def _nobody_waits() -> Iterable[RunRecord]:
    return ()


def _by_nothing(_: int) -> int | None:
    return None


def _never(_: Command) -> bool:
    return False


@dataclass(frozen=True)
class Situation:
    """What the decision rests on beside the command."""

    look_up: Callable[[int], RunRecord | None]
    was_admitted: Callable[[int], bool]  # the run's directory exists: this command is being applied again
    gpu_count: int  # that runs may have at all
    newest_proven: int = 0  # number of the newest command that is proven to have been applied before
    waiting: Callable[[], Iterable[RunRecord]] = _nobody_waits  # the runs that are held or queued
    removed_by: Callable[[int], int | None] = _by_nothing  # number of the command that has removed this run before
    was_carried_out: Callable[[Command], bool] = (
        _never  # the run's journal tells that this very order was obeyed before
    )


@dataclass(frozen=True)
class Birth:
    """A new run: its record, and the text of its spec.yaml."""

    record: RunRecord
    spec_yaml: str


@dataclass(frozen=True)
class Effects:
    """What a command does to the world; `problem` says why it does nothing."""

    born: tuple[Birth, ...] = ()
    changed: tuple[RunRecord, ...] = ()
    orders: tuple[tuple[int, Order], ...] = ()  # (run, what its trainer is asked for)
    specs: tuple[tuple[int, str], ...] = ()  # (run, the new text of its spec.yaml)
    removed: tuple[int, ...] = ()  # runs of which nothing stays
    problem: dict[str, Any] | None = None


def run_of(command: Command, situation: Situation) -> RunRecord:
    """The run that a command names. Raises NoSuchRun."""
    return existing_run(command.body["run"], situation)


def existing_run(run_id: int, situation: Situation) -> RunRecord:
    """Raises NoSuchRun."""
    record = situation.look_up(run_id)
    if record is None:
        raise NoSuchRun(str(run_id))
    return record


def refuse_to_wait_in_vain(after: int, situation: Situation) -> None:
    """Raises NoSuchRun or NotAllowed where run `after` is not there, or will not complete any more."""
    awaited = existing_run(after, situation)
    if awaited.state in ENDED and awaited.state is not State.COMPLETED:
        waits = "what waits for it to complete would never start"
        raise NotAllowed(f"run {after} is {awaited.state}: {waits}; let that one go on first")


def refuse_too_many_gpus(spec: dict[str, Any], situation: Situation) -> None:
    """Raises SpecificationRefused where a run wants more GPUs than there are: it would wait for ever."""
    needed = gpus_needed(spec, situation.gpu_count)
    if needed > situation.gpu_count:
        expected = f"at most {situation.gpu_count}"
        finding = Finding("more GPUs than there are", key="resources.gpus", expected=expected, found=str(needed))
        raise SpecificationRefused([finding])
