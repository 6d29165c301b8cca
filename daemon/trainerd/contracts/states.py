"""The states of a run, the reasons for its end, and the one table of what people may order in which state.

Everything else reads this table: the supervisor, the control plane and the client's "what is legal now".
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a run stands."""

    HELD = "held"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RETRYING = "retrying"
    INTERRUPTED = "interrupted"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.STOPPED, State.CANCELLED})
LIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSING, State.STOPPING})  # a trainer exists or is about to
ACTIVE = LIVE | {State.BLOCKED, State.RETRYING}  # what a verb without an ID may mean
WAITING = frozenset({State.HELD, State.QUEUED})
SETTLED = ENDED | {State.PAUSED}  # what `trainctl wait` waits for


class Reason(StrEnum):
    """Why a run ended; a closed set. A stop is never recorded as a completion."""

    FINISHED = "finished"
    EARLY_STOPPING = "early_stopping"
    USER_STOP = "user_stop"
    KILLED = "killed"
    CANCELLED = "cancelled"
    DEPENDENCY_FAILED = "dependency_failed"
    ERROR = "error"
    OUT_OF_MEMORY = "out_of_memory"
    HANG = "hang"
    DIVERGED = "diverged"
    DISK_FULL = "disk_full"
    DATA_ERROR = "data_error"
    CRASH_LOOP = "crash_loop"
    CORRUPT_CHECKPOINT = "corrupt_checkpoint"


class Exactness(StrEnum):
    """How truly a run has gone on after its interruptions; the worst of all resumes, in this order.

    EXACT: the state came back whole, on the same software and hardware, and every replayed step repeated its batch and
    its loss bit for bit. WITHIN_TOLERANCE: what may round differently has changed (torch's version, the device, a GPU
    without `deterministic: true`), or a replayed loss differed by rounding. DIVERGED_ON_RESUME: a replayed step
    differed by more, or the run went on with other data or with a changed configuration that the steps depend on.
    """

    EXACT = "exact"
    WITHIN_TOLERANCE = "within_tolerance"
    DIVERGED_ON_RESUME = "diverged_on_resume"


class Verb(StrEnum):
    """What a person may order of a run that exists."""

    PAUSE = "pause"
    RESUME = "resume"
    CHECKPOINT = "checkpoint"
    STOP = "stop"
    KILL = "kill"
    CANCEL = "cancel"
    RETRY = "retry"
    REMOVE = "remove"
    MOVE = "move"


# Verb -> state now -> state next. What is absent is refused. LIVE states move on when the trainer has done its part.
ORDERS: dict[Verb, dict[State, State]] = {
    Verb.PAUSE: {
        State.QUEUED: State.HELD,
        State.STARTING: State.PAUSING,  # and held once its trainer is gone: it has done nothing yet
        State.RUNNING: State.PAUSING,
        State.BLOCKED: State.PAUSED,
        State.RETRYING: State.PAUSED,
        State.INTERRUPTED: State.PAUSED,
    },
    Verb.RESUME: {State.HELD: State.QUEUED, State.PAUSED: State.QUEUED, State.STOPPED: State.QUEUED},
    Verb.CHECKPOINT: {State.RUNNING: State.RUNNING},
    Verb.STOP: {
        State.STARTING: State.STOPPING,
        State.RUNNING: State.STOPPING,
        State.PAUSING: State.STOPPING,
        State.PAUSED: State.STOPPED,
        State.BLOCKED: State.STOPPED,
        State.RETRYING: State.STOPPED,
        State.INTERRUPTED: State.STOPPED,
        State.HELD: State.CANCELLED,
        State.QUEUED: State.CANCELLED,
    },
    Verb.KILL: dict.fromkeys(sorted(LIVE), State.STOPPING),
    Verb.CANCEL: {State.HELD: State.CANCELLED, State.QUEUED: State.CANCELLED},
    Verb.RETRY: {State.FAILED: State.QUEUED, State.CANCELLED: State.QUEUED},
    Verb.REMOVE: {state: state for state in sorted(ENDED)},
    Verb.MOVE: {state: state for state in sorted(WAITING)},
}

RESTARTABLE = SETTLED  # where `retry --from-start` may make a new run of the same configuration
LEFT_OUT_OF_ALL: dict[Verb, frozenset[State]] = {Verb.STOP: WAITING}  # what `--all` does not mean, though it is legal


def next_state(verb: Verb, state: State) -> State | None:
    """The state that `verb` leads to from `state`, or None where the order is not legal."""
    return ORDERS[verb].get(state)


def legal_verbs(state: State) -> list[Verb]:
    """What may be ordered of a run in `state`, in the table's order."""
    return [verb for verb, moves in ORDERS.items() if state in moves]


def explain_refusal(verb: Verb, reference: str, state: State) -> str:
    """The message of a refused order: what the run is, and what is legal instead."""
    legal = ", ".join(legal_verbs(state)) or "nothing"
    anew = f"; to train it anew: trainctl retry --from-start {reference}"
    hint = anew if state in RESTARTABLE and verb in (Verb.RESUME, Verb.RETRY) else ""
    return f"cannot {verb} run {reference}: it is {state}; legal now: {legal}{hint}"
