"""`trainerd train`: the training loop in this very process, in a run directory of its own, without a daemon.

Does by itself what supervisor and worker host do for a submitted run: checks, admits, starts, and records the end.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from trainerd.config import spec_to_yaml
from trainerd.contracts.durable_files import replace_durably
from trainerd.contracts.errors import Finding, NotAllowed, SpecificationRefused
from trainerd.contracts.journal import Event, Journal, now
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.messages import Inspect, Inspected
from trainerd.contracts.outcome import read_outcome
from trainerd.contracts.pages import OrdersPage, create_pages
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.contracts.states import State
from trainerd.training.spec_changes import describe_change
from trainerd.training.trainer import run_trainer
from trainerd.worker.ending import record_abandoned_end, record_end
from trainerd.worker.inspector import inspect
from trainerd.worker.summary import summarize

RUNS = Path("runs")


def train_in_foreground(
    file: Path,
    overrides: Sequence[str],
    run_directory: Path | None,
    say: Callable[[str], None],
    *,
    accept_changed_data: bool = False,
) -> int:
    """Train the configuration `file` to its end; returns the exit code: 0, 75 with a checkpoint, or 1.

    In a directory that holds a checkpoint the run goes on. Raises SpecificationRefused, AlreadyRunning for a directory
    that another process trains in, NotAllowed for a run that has completed.
    """
    if run_directory:
        _refuse_completed_run(RunDirectory(run_directory.absolute()))
    inspected = _inspect(read_request(file, overrides, run_directory, accept_changed_data), run_directory or RUNS, say)
    spec = RunSpec.model_validate(inspected.spec)
    directory = RunDirectory((run_directory or _next_free_directory(spec.name)).absolute())
    directory.path.mkdir(parents=True, exist_ok=True)
    lock = PlaceLock(directory.lock, "trainer")
    _refuse_completed_run(directory)
    attempt = _admit(spec, directory)
    say(f"run directory: {directory.path}")
    if spec.resources.gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    settled = OrdersPage(directory.orders_page).newest()
    exit_code = run_trainer(
        directory, attempt=attempt, settled_order=settled, accepted_data=inspected.accepted_data, say=say
    )
    record_end(directory, attempt, exit_code, None)
    lock.release()
    again = shlex.join(["trainerd", "train", str(file), *overrides])
    for line in summarize(read_outcome(directory.outcome), spec, directory, again=again):
        say(line)
    return exit_code


def _inspect(request: Inspect, disk: Path, say: Callable[[str], None]) -> Inspected:
    """What an inspector says; warnings and changes are told. Raises SpecificationRefused."""
    inspected = inspect(request, disk)
    for warning in inspected.warnings:
        say(f"warning: {Finding.from_json(warning)}")
    for change in inspected.changes:
        say(describe_change(change))
    if inspected.spec is None:
        raise SpecificationRefused([Finding.from_json(finding) for finding in inspected.findings])
    return inspected


def read_request(
    file: Path, overrides: Sequence[str], run_directory: Path | None = None, accept_changed_data: bool = False
) -> Inspect:
    """The request to inspect `file` as it is now, for the run that goes on in `run_directory`, if there is one.

    Raises SpecificationRefused where it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SpecificationRefused([Finding(f"cannot be read: {why}", file=str(file))]) from error
    return Inspect(
        str(file.absolute()),
        text,
        list(overrides),
        run_dir=str(run_directory.absolute()) if run_directory else None,
        accept_changed_data=accept_changed_data,
    )


def _next_free_directory(name: str) -> Path:
    """./runs/NAME-N for the lowest N that nobody has; made here, so two at the same time get different ones."""
    RUNS.mkdir(exist_ok=True)
    for number in itertools.count(1):
        directory = RUNS / f"{name}-{number}"
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise AssertionError("itertools.count has no end")


def _refuse_completed_run(directory: RunDirectory) -> None:
    """Before anything is written: raises NotAllowed where there is nothing to go on with."""
    if directory.outcome.exists() and read_outcome(directory.outcome).state == State.COMPLETED:
        raise NotAllowed(f"{directory.path}: this run has completed; its model is {directory.model}")


def _admit(spec: RunSpec, directory: RunDirectory) -> int:
    """Make the directory ready for one more attempt, and tell its number. The caller holds the directory's lock."""
    last = record_abandoned_end(directory)
    replace_durably(directory.spec, spec_to_yaml(spec))
    create_pages(directory.orders_page, directory.pulse_page)
    if not directory.events.exists():
        journal = Journal(directory.events, attempt=0)
        fields = {"run": None, "name": spec.name, "owner": os.getuid(), "command": None, "priority": 0}
        journal.record(Event.ADMITTED, **fields, submitted_at=now())
        journal.close()
    return last.number + 1
