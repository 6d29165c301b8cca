"""The training loop, as the sentence that describes it. What its words mean stands in `run`."""

from __future__ import annotations

from trainerd.contracts.pages import Phase
from trainerd.training.ending import Ending
from trainerd.training.run import Run
from trainerd.training.update import Group


def train(run: Run) -> Ending:
    """Train until the run is finished, has converged, or is asked to stop."""
    for epoch in run.remaining_epochs():
        for group in run.batch_groups(epoch):  # one optimizer update each
            take_step(run, group)
            run.save_checkpoint_if_due()
            if run.is_asked_to_stop():
                return run.stopped()
        if not validate(run):  # an order came in between
            return run.stopped()
        run.save_checkpoint_if_due()
        if run.has_converged():
            return run.converged()
    return run.finished()


def take_step(run: Run, group: Group) -> None:
    """Update the parameters once, and count it."""
    loss = run.update.accumulate(group)
    learning_rate = run.update.apply(run.progress.step + 1)
    run.count_step(group, loss, learning_rate)


def validate(run: Run) -> bool:
    """End the epoch with a pass over the validation samples; False if an ending order came in between.

    Such a pass leaves no trace: it is done again on resume, from the same random state.
    """
    run.pulse.enter(Phase.VALIDATION)
    with run.measuring() as means:
        for batch in run.validation_batches():
            means.add(run.update.model, batch)
            run.pulse.beat(run.progress.step)
            run.keeper.note_finished()
            if run.is_asked_to_stop():
                return False
    run.finish_epoch(means.values())
    run.pulse.enter(Phase.STEP)
    return True
