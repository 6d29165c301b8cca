"""A run while it trains: the things that the loop speaks of, and what each of its words does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainerd.contracts.journal import Event, Journal, now
from trainerd.contracts.pages import Order, Phase, PulseWriter
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.contracts.states import State
from trainerd.data.batches import BatchStream
from trainerd.data.source import Batch
from trainerd.training import random_state, training_state
from trainerd.training.ballast import Ballast
from trainerd.training.checkpoints.keeper import CheckpointKeeper
from trainerd.training.checkpoints.snapshot import RunState
from trainerd.training.early_stopping import Standing, Watch
from trainerd.training.ending import BY_ORDER, CONVERGED, FINISHED, Ending, blocked
from trainerd.training.metric_log import MetricLog
from trainerd.training.orders import Orders
from trainerd.training.progress import Progress
from trainerd.training.step_trace import StepTrace
from trainerd.training.tensorboard_log import TensorBoardLog
from trainerd.training.train_meter import TrainMeter
from trainerd.training.update import Group, Update
from trainerd.training.validation import Means

# What the journal says once an order has been obeyed; an interruption is told by what comes next.
_OBEYED: dict[str, Event] = {State.STOPPED: Event.STOPPED, State.PAUSED: Event.PAUSED}


@dataclass
class Run:
    """One attempt of a run, opened by `open_run`. Its trainer's only thread uses it."""

    spec: RunSpec
    directory: RunDirectory
    device: torch.device
    update: Update
    measures: dict[str, Callable[..., Tensor]]
    training: BatchStream
    validation: BatchStream | None
    data_fingerprint: str
    code: dict[str, str]  # fingerprints of the targets' modules, as they were imported
    progress: Progress
    meter: TrainMeter
    watch: Watch | None  # what decides which weights are best
    standing: Standing
    orders: Orders
    pulse: PulseWriter
    journal: Journal
    metrics: MetricLog
    trace: StepTrace
    tensorboard: TensorBoardLog
    keeper: CheckpointKeeper
    ballast: Ballast
    say: Callable[[str], None]
    first_step_recorded: bool = False
    epoch_started: float = field(default_factory=time.perf_counter)

    # The words of the loop, in its order.

    def remaining_epochs(self) -> Iterator[int]:
        """The numbers of the epochs still to be trained, the running one first. None are left after convergence.

        One that is under way is brought to its end, whatever has been changed since: runs end between two epochs.
        """
        self.pulse.enter(Phase.COMPILING)
        while self.progress.is_inside_epoch or not (self._has_had_its_epochs() or self.has_converged()):
            self.pulse.set_epoch(self.progress.epoch)
            self.epoch_started = time.perf_counter()
            self.update.model.train()
            yield self.progress.epoch

    def batch_groups(self, epoch: int) -> Iterator[Group]:
        """The rest of the epoch's batches, `trainer.accumulate` to a group."""
        batches = self.training.batches(epoch, self.progress.batches_used)
        accumulate = self.spec.trainer.accumulate
        if accumulate == 1:
            return (Group((batch,), batch.samples) for batch in batches)
        return (Group(group, sum(batch.samples for batch in group)) for group in _grouped(batches, accumulate))

    def count_step(self, group: Group, loss: Tensor, learning_rate: float) -> None:
        """Note that an update is done: beat, remember its loss, and now and then write the lines that are complete."""
        progress = self.progress
        progress.advance(len(group.batches))
        self.pulse.beat(progress.step)
        self.meter.add(progress.step, progress.epoch, loss, group.samples, learning_rate)
        if not self.first_step_recorded:
            self.first_step_recorded = True
            self.pulse.enter(Phase.STEP)
            self.journal.record(Event.FIRST_STEP, step=progress.step)
            if progress.step == 1:  # only now does the optimizer have its state, most of what a checkpoint holds
                self.prepare_for_checkpoints(self.state())
        if self.meter.is_full():
            self.write_metrics(wait=False)

    def prepare_for_checkpoints(self, state: RunState) -> None:
        """Make the buffers, and keep back room on the disk for one last checkpoint. Raises Unsaveable, OSError."""
        self.keeper.try_out(state)
        self.ballast.reserve(self.keeper.checkpoint_bytes)

    def save_checkpoint_if_due(self) -> None:
        """Save what is due or asked for; after an epoch's last step not before the validation, which belongs to it."""
        self.keeper.note_finished()
        if self.progress.batches_used == self.training.batches_per_epoch:
            return
        order, is_due = self._take_checkpoint_order(), self.keeper.is_due(self.progress.step)
        if is_due or order is not None:
            self.save_checkpoint(periodic=is_due, order=order)

    def is_asked_to_stop(self) -> bool:
        """Whether an order has come that ends this attempt: one look at the page."""
        return self.orders.ending() is not None

    def has_converged(self) -> bool:
        """Whether early stopping has run out of patience."""
        return self.watch is not None and self.standing.is_exhausted(self.watch)

    def _has_had_its_epochs(self) -> bool:
        return self.progress.epochs_finished >= self.spec.trainer.max_epochs

    @contextmanager
    def measuring(self) -> Iterator[Means]:
        """Evaluation mode without gradients; the random state is afterwards what it was before."""
        model, before = self.update.model, random_state.capture(self.device)
        model.eval()
        try:
            with torch.no_grad():
                yield Means(self.update.loss, self.measures, self.update.precision)
        finally:
            model.train()
            random_state.restore(before, self.device)

    def validation_batches(self) -> Iterator[Batch]:
        """The validation samples in their own order; nothing without a validation split."""
        return self.validation.batches(epoch=1) if self.validation else iter(())

    def finish_epoch(self, measured: dict[str, float]) -> None:
        """Note the end of the epoch: lines, the standing of the monitored metric, the best weights so far."""
        self.write_metrics()
        epoch, step = self.progress.epoch, self.progress.step
        train_loss = self.meter.finish_epoch()
        self.progress.finish_epoch()
        if measured:
            self._write_lines([_validation_line(step, epoch, measured)])
        monitored = {"train_loss": train_loss, **{f"val_{name}": value for name, value in measured.items()}}
        value = monitored[self.watch.monitor] if self.watch else None
        if self.watch and value is not None:
            self.standing = self.standing.observe(self.watch, epoch, step, value)
            self.update.schedule.observe(self.standing.last)
        self._report_epoch(epoch, step, train_loss, measured)
        if self.watch and self.standing.best_step == step:
            self.pulse.enter(Phase.CHECKPOINT)  # it may have to wait for one that is being written
            self.keeper.hold_best(self.state())

    # The endings.

    def finished(self) -> Ending:
        return self._conclude(CONVERGED if self.has_converged() else FINISHED)

    def converged(self) -> Ending:
        return self._conclude(CONVERGED)

    def stopped(self) -> Ending:
        """Obey the order that ends this attempt: with a checkpoint of this very step, unless it says without one."""
        asked = self.orders.ending()
        assert asked is not None
        self.journal.record(Event.ASKED, order=asked.order.name.lower(), step=self.progress.step)
        if asked.order is Order.STOP_WITHOUT_CHECKPOINT:
            self.write_metrics()
            self.keeper.close()
        else:
            self.save_last_checkpoint()
        self.pulse.acknowledge(asked.number)
        self.pulse.enter(Phase.ENDING)
        if asked.order is Order.INTERRUPT and self.ballast.is_given_up:
            return blocked(self.directory.path, "its last checkpoint has taken the room that was kept back for it")
        ending = BY_ORDER[asked.order]
        if ending.state in _OBEYED:
            self.journal.record(_OBEYED[ending.state], step=self.progress.step)
        return ending

    def _conclude(self, ending: Ending) -> Ending:
        self.save_last_checkpoint()
        self.pulse.enter(Phase.ENDING)
        return ending

    # What the words are made of.

    def save_checkpoint(self, *, periodic: bool = False, order: int | None = None) -> None:
        """Copy the state and go on: it is written meanwhile. `order` is the number of an order for a pinned one."""
        self.pulse.enter(Phase.CHECKPOINT)
        self.keeper.save(self.state(), periodic=periodic, order=order)
        self.pulse.enter(Phase.STEP)

    def save_last_checkpoint(self) -> None:
        """Commit this very step, for an order that still waits too, and go on only when everything is durable.

        Only where the run stands between two steps: also in a validation, which is done again.
        """
        self.pulse.enter(Phase.CHECKPOINT)
        self.keeper.close()
        self.keeper.save(self.state(), order=self._take_checkpoint_order())
        self.keeper.settle()

    def _take_checkpoint_order(self) -> int | None:
        """The number of an order for a checkpoint at this step. It is acknowledged once the checkpoint is durable."""
        asked = self.orders.take_checkpoint_order()
        if asked is None:
            return None
        self.journal.record(Event.ASKED, order=asked.order.name.lower(), step=self.progress.step)
        return asked.number

    def write_metrics(self, *, wait: bool = True) -> None:
        """Trace the steps whose losses have come, all of them with `wait`, and write their lines. Raises Diverged."""
        drained = self.meter.drain(wait=wait)
        self.trace.take_steps(self.progress.epoch, drained, self.keeper.newest_committed)
        self._write_lines(drained.lines)
        self.tensorboard.catch_up()
        if drained.diverged:
            raise drained.diverged

    def _write_lines(self, lines: list[dict[str, Any]]) -> None:
        self.trace.take_lines(lines)
        self.metrics.write(lines)

    def state(self) -> RunState:
        """Everything that the next step depends on, after the pending losses have been found finite."""
        self.write_metrics()
        return training_state.capture(self)

    def _report_epoch(self, epoch: int, step: int, train_loss: float | None, measured: dict[str, float]) -> None:
        standing = self.standing
        best = None
        if standing.best is not None:
            best = {"value": standing.best, "epoch": standing.best_epoch, "step": standing.best_step}
        since_best = standing.epochs_since_best(self.watch) if self.watch else None
        fields = {
            "epoch": epoch,
            "step": step,
            "train_loss": train_loss,
            "val_loss": measured.get("loss"),
            "metrics": {name: value for name, value in measured.items() if name != "loss"},
            "seconds": round(time.perf_counter() - self.epoch_started, 3),
            "best": best,
            "epochs_since_best": since_best,
        }
        self.journal.record(Event.EPOCH, **fields)
        self.trace.finish_epoch(fields)
        self.say(_epoch_line(epoch, self.spec.trainer.max_epochs, step, train_loss, measured, best))


def _grouped(batches: Iterator[Batch], size: int) -> Iterator[tuple[Batch, ...]]:
    while group := tuple(itertools.islice(batches, size)):
        yield group


def _validation_line(step: int, epoch: int, measured: dict[str, float]) -> dict[str, Any]:
    return {"time": now(), "step": step, "epoch": epoch, "split": "val", **measured}


def _epoch_line(
    epoch: int,
    max_epochs: int,
    step: int,
    train_loss: float | None,
    measured: dict[str, float],
    best: dict[str, Any] | None,
) -> str:
    parts = [f"epoch {epoch}/{max_epochs}", f"step {step}"]
    parts += [f"train_loss {train_loss:.6g}"] if train_loss is not None else []
    parts += [f"val_{name} {value:.6g}" for name, value in measured.items()]
    parts += [f"best {best['value']:.6g} (epoch {best['epoch']})"] if best else []
    return "  ".join(parts)
