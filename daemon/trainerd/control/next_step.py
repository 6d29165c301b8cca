"""What a person can do about a run as it is: the exact command, and a sentence on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import Reason, State


@dataclass(frozen=True)
class NextStep:
    """`command` is None where nothing has to be ordered."""

    command: str | None
    advice: str


def next_step(record: RunRecord) -> NextStep:
    """The next command for this run, ready to be typed."""
    if record.state is State.FAILED:
        return _after_a_failure(record)
    if record.lacks_checkpoint:
        return NextStep(f"trainctl retry --from-start {record.id}", "it has no checkpoint to go on from")
    match record.state:
        case State.COMPLETED:
            return NextStep(None, f"nothing to do: the model is {record.model['path']}" if record.model else "done")
        case State.STOPPED | State.PAUSED | State.HELD:
            return NextStep(f"trainctl resume {record.id}", "it waits for a person; it goes on where it was")
        case State.CANCELLED:
            return _after_a_cancellation(record)
        case State.BLOCKED:
            return NextStep(None, f"make room on the disk of its directory: {_room(record)}; it goes on by itself")
        case State.RETRYING | State.INTERRUPTED:
            return NextStep(None, "nothing to do: it goes on by itself, from its newest checkpoint")
        case State.QUEUED:
            return NextStep("trainctl status", "it waits for its turn")
    if record.stalled:
        return NextStep(
            f"trainctl kill {record.id}", "to end it at once; left alone, it is killed and goes on by itself"
        )
    return NextStep(f"trainctl follow {record.id}", "it is at work")


def _after_a_failure(record: RunRecord) -> NextStep:
    retry, anew = f"trainctl retry {record.id}", f"trainctl retry --from-start {record.id}"
    match record.reason:
        case Reason.DIVERGED:
            return NextStep(f"{anew} {_lower_learning_rate(record)}", "begin anew with smaller steps")
        case Reason.CORRUPT_CHECKPOINT:
            return NextStep(anew, "none of its checkpoints verifies; the damaged ones are kept in its directory")
        case Reason.OUT_OF_MEMORY:
            smaller = f"{anew} {_smaller_batch(record)}"
            return NextStep(retry, f"once more memory is free; or begin anew with smaller batches: {smaller}")
        case Reason.DATA_ERROR:
            return NextStep(retry, "once the data is mended; where that has changed it, with --accept-changed-data")
        case Reason.DISK_FULL:
            return NextStep(retry, "once there is room on the disk that the error names")
        case Reason.HANG:
            return NextStep(retry, "once what its stacks wait for is mended")
    return NextStep(retry, "once the cause is mended; it goes on from its newest checkpoint, with fresh tries")


def _after_a_cancellation(record: RunRecord) -> NextStep:
    if record.reason is Reason.DEPENDENCY_FAILED:
        return NextStep(f"trainctl why {record.after}", f"run {record.after}, which it waited for, did not complete")
    return NextStep(f"trainctl retry {record.id}", "it was cancelled; this queues it again")


def _room(record: RunRecord) -> str:
    return f"it needs {record.needed_bytes} bytes" if record.needed_bytes else "it needs some megabytes"


def _lower_learning_rate(record: RunRecord) -> str:
    return f"optimizer.lr={record.spec['optimizer']['lr'] / 10:g}"


def _smaller_batch(record: RunRecord) -> str:
    return f"data.batch_size={max(1, record.spec['data']['batch_size'] // 2)}"
