"""Puts a run together from its directory: its data, its model, and the state of its newest checkpoint."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainerd.config import read_spec
from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.pages import OrdersPage, PulsePage, PulseWriter
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.data import BatchStream, SampleOrder, Source, open_source, split_samples
from trainerd.training import random_state, training_state
from trainerd.training.ballast import Ballast
from trainerd.training.checkpoints.keeper import CheckpointKeeper
from trainerd.training.checkpoints.snapshot import RunState
from trainerd.training.components import Compare, build_loss, build_measures, build_model, import_from
from trainerd.training.devices import apply_determinism, environment_facts, resolve_device, visible_gpus
from trainerd.training.early_stopping import Standing, Watch
from trainerd.training.metric_log import MetricLog
from trainerd.training.monitors import check_monitor
from trainerd.training.optimizers import build_optimizer
from trainerd.training.orders import Orders, SignalOrders
from trainerd.training.precision import Precision
from trainerd.training.progress import Progress
from trainerd.training.resume import Resume, find_resume, refuse_other_data, resume, what_was_before
from trainerd.training.run import Run
from trainerd.training.schedules import build_schedule
from trainerd.training.step_record import StepRecord
from trainerd.training.step_trace import StepTrace
from trainerd.training.tensorboard_log import TensorBoardLog
from trainerd.training.train_meter import TrainMeter
from trainerd.training.update import Update
from trainerd.training.user_code import fingerprint_code


@dataclass(frozen=True)
class Attempt:
    """What an attempt is given: its place, its number, and its ways in and out."""

    directory: RunDirectory
    number: int
    journal: Journal
    orders: Orders
    pulse: PulseWriter
    ballast: Ballast
    say: Callable[[str], None]
    accepted_data: str | None = None  # fingerprint of data other than the checkpoint's that a person has accepted


def begin_attempt(
    directory: RunDirectory,
    journal: Journal,
    ballast: Ballast,
    number: int,
    settled_order: int,
    say: Callable[[str], None],
    accepted_data: str | None = None,
) -> Attempt:
    """Open the pages, and obey orders, signals and a full disk from now on."""
    orders = Orders(OrdersPage(directory.orders_page), settled_order)
    SignalOrders(orders)
    ballast.when_given_up(orders.interrupt)
    pulse = PulseWriter(PulsePage(directory.pulse_page, writable=True), number)
    return Attempt(directory, number, journal, orders, pulse, ballast, say, accepted_data)


def open_run(attempt: Attempt) -> Run:
    """The run at the step of its newest checkpoint that verifies, or at step 0 if it has none yet.

    Raises SpecificationRefused, DataError, CorruptCheckpoint, OSError, and whatever user code raises.
    """
    spec = read_spec(attempt.directory.spec)
    if findings := check_monitor(spec):
        raise SpecificationRefused(findings)
    found = find_resume(attempt.directory, attempt.journal, spec, attempt.pulse.show_life)
    device = _prepare_process(spec, found.state if found else None)
    source = open_source(spec.data)
    if found:
        refuse_other_data(found, source, attempt.accepted_data, attempt.directory)
    run = _assemble(attempt, spec, device, source, found)
    attempt.journal.record(Event.STARTED, **_started_fields(run))
    if found:
        resume(run, found)
    run.prepare_for_checkpoints(training_state.capture(run))
    return run


def _prepare_process(spec: RunSpec, saved: RunState | None) -> torch.device:
    """Set what is global to the process: import path, threads, determinism, seeds. The run's device."""
    if spec.source:
        import_from(Path(spec.source).parent)
    threads = training_state.saved_threads(saved) if saved else spec.resources.cpus
    training_state.set_threads(threads or len(os.sched_getaffinity(0)))
    apply_determinism(spec.trainer.deterministic)
    random_state.seed_everything(spec.seed)
    return resolve_device(spec.trainer.device)


def _assemble(attempt: Attempt, spec: RunSpec, device: torch.device, source: Source, found: Resume | None) -> Run:
    directory, journal = attempt.directory, attempt.journal
    training, validation = _open_streams(spec, source, device)
    resume_step = found.state.step if found else 0
    make_room = attempt.ballast.give_up
    metrics = MetricLog(directory.metrics, resume_step, make_room)
    steps = StepRecord(directory.steps, resume_step, make_room)
    before = what_was_before(found, directory, steps.earlier, metrics.earlier)

    def sync_lines() -> None:
        metrics.sync()
        journal.sync()

    return Run(
        spec=spec,
        directory=directory,
        device=device,
        update=_build_update(spec, source, device, spec.trainer.max_epochs * _steps_per_epoch(spec, training)),
        measures={name: _on_device(each, device) for name, each in build_measures(spec.metrics).items()},
        training=training,
        validation=validation,
        data_fingerprint=source.fingerprint(),
        code=fingerprint_code(spec),
        progress=Progress(),
        meter=TrainMeter(spec.trainer.log_every_steps),
        watch=Watch.of(spec.early_stopping, spec.monitor) if spec.monitor else None,
        standing=Standing(),
        orders=attempt.orders,
        pulse=attempt.pulse,
        journal=journal,
        metrics=metrics,
        trace=StepTrace(steps, before, journal, training, spec.trainer.accumulate),
        tensorboard=TensorBoardLog(directory.tensorboard, directory.metrics, make_room),
        keeper=CheckpointKeeper(
            directory,
            spec.checkpoint,
            journal,
            attempt.number,
            sync_lines,
            holds_best=spec.monitor is not None,
            obeyed=attempt.pulse.acknowledge,
            make_room=make_room,
            show_progress=attempt.pulse.show_progress,
        ),
        ballast=attempt.ballast,
        say=attempt.say,
    )


def _open_streams(spec: RunSpec, source: Source, device: torch.device) -> tuple[BatchStream, BatchStream | None]:
    """The training batches in the run's shuffled order, and the validation batches in the file's."""
    training, validation = split_samples(source, spec.data.split)
    shuffled = SampleOrder(spec.seed, len(training), spec.data.shuffle)
    stream = BatchStream(source, training, shuffled, spec.data.batch_size, device)
    if not len(validation):
        return stream, None
    in_order = SampleOrder(spec.seed, len(validation), shuffle=False)
    return stream, BatchStream(source, validation, in_order, spec.data.batch_size, device)


def _build_update(spec: RunSpec, source: Source, device: torch.device, total_steps: int) -> Update:
    model = build_model(spec.model, source.inputs, source.targets).to(device)
    return Update(
        model=model,
        loss=_on_device(build_loss(spec.loss), device),
        optimizer=build_optimizer(spec.optimizer, model),
        schedule=build_schedule(spec.schedule, total_steps, spec.monitor[1] if spec.monitor else "min"),
        precision=Precision.resolve(spec.trainer.precision, device),
        grad_clip=spec.trainer.grad_clip,
    )


def _on_device(compare: Compare, device: torch.device) -> Compare:
    return compare.to(device) if isinstance(compare, torch.nn.Module) else compare


def _steps_per_epoch(spec: RunSpec, training: BatchStream) -> int:
    return -(-training.batches_per_epoch // spec.trainer.accumulate)


def _started_fields(run: Run) -> dict[str, Any]:
    spec, parameters = run.spec, run.update.model.parameters()
    environment = environment_facts(run.device)
    return {
        "pid": os.getpid(),
        "hostname": socket.gethostname(),
        "versions": {name: environment[name] for name in ("torch", "numpy", "python")},
        "device": str(run.device),
        "threads": environment["threads"],
        "steps_per_epoch": _steps_per_epoch(spec, run.training),
        "max_epochs": spec.trainer.max_epochs,
        "train_samples": run.training.sample_count,
        "val_samples": run.validation.sample_count if run.validation else 0,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "monitor": dict(zip(("name", "mode"), spec.monitor, strict=True)) if spec.monitor else None,
        "patience": spec.early_stopping.patience if spec.early_stopping else None,
        "gpus": visible_gpus(),
    }
