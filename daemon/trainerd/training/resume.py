"""How an attempt goes on from the newest checkpoint that verifies: it is found, found fit, put back, and told of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainerd.contracts.errors import CorruptCheckpoint, DataError, SpecificationRefused
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.contracts.states import Exactness
from trainerd.data import Source
from trainerd.training import training_state
from trainerd.training.checkpoints.snapshot import RunState, load
from trainerd.training.checkpoints.verify import newest_verified
from trainerd.training.exactness import label_resume, worst
from trainerd.training.going_on import Saved, other_data_than
from trainerd.training.history import epochs_after, has_committed_checkpoint
from trainerd.training.metric_log import Lines
from trainerd.training.replay import Before
from trainerd.training.run import Run
from trainerd.training.spec_changes import Change
from trainerd.training.step_record import Steps

_NAMED = 5  # elements of a state at most, in one line


@dataclass(frozen=True)
class Resume:
    """A checkpoint to go on from, and what has changed in the specification since."""

    state: RunState
    saved: Saved
    changes: list[Change]

    def has_changed(self, section: str) -> bool:
        return any(change.key == section or change.key.startswith(f"{section}.") for change in self.changes)


def find_resume(
    directory: RunDirectory, journal: Journal, spec: RunSpec, show_progress: Callable[[], None]
) -> Resume | None:
    """The newest checkpoint that verifies; None only if the run has never had any.

    Raises CorruptCheckpoint if it had and none is left, SpecificationRefused for changes that would make another run.
    """

    def report(name: str, why: str) -> None:
        journal.record(Event.CHECKPOINT_SKIPPED, path=name, why=why)

    verified = newest_verified(directory.checkpoints, report, show_progress)
    if verified is None:
        if has_committed_checkpoint(directory.events):
            raise CorruptCheckpoint(str(directory.checkpoints))
        return None
    state = load(verified)
    saved = Saved.of(state)
    changes = saved.changes(spec)
    if findings := saved.refuse(changes):
        raise SpecificationRefused(findings)
    return Resume(state, saved, changes)


def refuse_other_data(found: Resume, source: Source, accepted: str | None, directory: RunDirectory) -> None:
    """Raises DataError for data that is neither the checkpoint's nor what a person has accepted."""
    fingerprint = source.fingerprint()
    if not found.saved.has_other_data(fingerprint) or fingerprint == accepted:
        return
    name = directory.path.name
    command = f"trainctl retry --accept-changed-data {name}" if name.isdigit() else "--accept-changed-data"
    raise DataError(f"{other_data_than(found.saved)}; to go on all the same: {command}", source.file)


def what_was_before(found: Resume | None, directory: RunDirectory, steps: Steps, lines: Lines) -> Before:
    """What is to be repeated, as far as what has changed in the specification lets it be compared."""
    epochs = epochs_after(directory.events, found.state.step if found else 0)
    if found and found.has_changed("trainer.log_every_steps"):  # a line is the mean since the last one
        lines = {place: line for place, line in lines.items() if place[0] != "train"}
    if found and found.has_changed("early_stopping"):
        standing = ("best", "epochs_since_best")
        epochs = {
            step: {key: value for key, value in line.items() if key not in standing} for step, line in epochs.items()
        }
    return Before(steps, lines, epochs)


def resume(run: Run, found: Resume) -> None:
    """Put the state back into the run, and say from where it goes on and how truly."""
    state, then = found.state, found.saved.at.then
    training_state.restore(run, state, then)
    lost = training_state.find_not_restored(run, state, then)
    environment = training_state.find_environment_differences(run, state)
    code = training_state.find_changed_code(run, state)
    has_other_data = found.saved.has_other_data(run.data_fingerprint)
    has_other_precision = training_state.computes_in_another_precision(run, state)
    label = label_resume(
        differs_in_environment=bool(environment),
        repeats_bits=run.device.type == "cpu" or run.spec.trainer.deterministic,
        is_whole=not lost,
        has_other_inputs=has_other_data or bool(code) or has_other_precision,
        effect=worst(change.rule.effect for change in found.changes),
    )
    run.keeper.resume_best(run.standing.best_step)
    run.trace.resume(run.progress.batches_used)
    run.pulse.beat(run.progress.step)
    data = [other_data_than(found.saved)] if has_other_data else []
    _tell(run, found, [*environment, *data, *code, *_name(lost)], label)


def _tell(run: Run, found: Resume, differences: list[str], label: Exactness) -> None:
    state = found.state
    path = run.directory.checkpoint(state.step).name
    changes = [change.to_json() for change in found.changes]
    run.journal.record(
        Event.RESUMED,
        step=state.step,
        epoch=state.epoch,
        checkpoint=path,
        differences=differences,
        changes=changes,
        exactness=label,
    )
    run.say(f"going on from {path} ({label})")
    for line in [*differences, *map(str, found.changes)]:
        run.say(f"  {line}")


def _name(lost: list[str]) -> list[str]:
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return [f"did not come back as it was saved: {', '.join(lost[:_NAMED])}{more}"] if lost else []
