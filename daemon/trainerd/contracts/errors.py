"""One tree of errors, split by who can mend it, each mapped once to an HTTP status and an exit code.

The same closed set of problem types travels over the control socket (application/problem+json) and out of `trainctl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum, IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What `trainctl` and `trainerd` exit with; scripts rely on these numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SUCH_RUN = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 69
    RESUMABLE = 75
    NOT_PERMITTED = 77
    REFUSED = 78
    TIMEOUT = 124
    INTERRUPTED = 130


class ProblemType(Enum):
    """The closed set of problems: (name in the URL of the problem, HTTP status, exit code)."""

    FAILED = ("failed", 500, ExitCode.FAILED)
    DISK = ("disk", 507, ExitCode.FAILED)
    USAGE = ("usage", 400, ExitCode.USAGE)
    NO_SUCH_RUN = ("no-such-run", 404, ExitCode.NO_SUCH_RUN)
    NOT_ALLOWED = ("not-allowed", 409, ExitCode.NOT_ALLOWED)
    UNREACHABLE = ("unreachable", 503, ExitCode.UNREACHABLE)
    NOT_PERMITTED = ("not-permitted", 403, ExitCode.NOT_PERMITTED)
    REFUSED = ("refused", 422, ExitCode.REFUSED)
    TIMEOUT = ("timeout", 504, ExitCode.TIMEOUT)

    def __init__(self, slug: str, http_status: int, exit_code: ExitCode) -> None:
        self.slug = slug
        self.http_status = http_status
        self.exit_code = exit_code

    @classmethod
    def of_slug(cls, slug: str) -> ProblemType:
        """The problem type that a peer named; one that we do not know counts as FAILED."""
        return next((kind for kind in cls if kind.slug == slug), cls.FAILED)


@dataclass(frozen=True)
class Finding:
    """One thing wrong (or worth a warning) in a configuration or its data, and where it stands."""

    message: str
    file: str | None = None
    line: int | None = None  # from 1
    column: int | None = None  # from 1
    key: str | None = None  # dotted path, such as optimizer.lr
    expected: str | None = None
    found: str | None = None
    suggestion: str | None = None
    row: int | None = None  # sample of the data, from 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        row = f"row {self.row}" if self.row is not None else None
        text = ": ".join(part for part in (place, self.key, row, self.message) if part)
        details = [f"expected {self.expected}"] if self.expected else []
        details += [f"found {self.found}"] if self.found else []
        text += f" ({', '.join(details)})" if details else ""
        return text + (f"; did you mean {self.suggestion}?" if self.suggestion else "")

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Finding:
        return cls(**{name: document.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]


class TrainerdError(Exception):
    """The root. `str()` of it is the message that a user reads."""

    problem: ClassVar[ProblemType] = ProblemType.FAILED

    @property
    def exit_code(self) -> ExitCode:
        return self.problem.exit_code


# What the user can mend: the specification, the data, the order.


@dataclass(eq=False, repr=False)
class SpecificationRefused(TrainerdError):
    """A configuration or its data cannot be run. Carries every problem found, not only the first."""

    findings: list[Finding]
    problem: ClassVar[ProblemType] = ProblemType.REFUSED

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


@dataclass(eq=False, repr=False)
class DataError(TrainerdError):
    """A batch could not be read, or holds what its field forbids."""

    message: str
    file: str
    key: str | None = None
    row: int | None = None
    problem: ClassVar[ProblemType] = ProblemType.REFUSED

    def __str__(self) -> str:
        where = [self.file, f"key {self.key}" if self.key else "", f"row {self.row}" if self.row is not None else ""]
        return f"{', '.join(part for part in where if part)}: {self.message}"


@dataclass(eq=False, repr=False)
class NoSuchRun(TrainerdError):
    """The reference names no run."""

    reference: str
    nearest: str | None = None
    problem: ClassVar[ProblemType] = ProblemType.NO_SUCH_RUN

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"no run {self.reference!r}{hint} (trainctl list --all shows every run)"


@dataclass(eq=False, repr=False)
class NotAllowed(TrainerdError):
    """The order is not legal in the run's state; says what is."""

    message: str
    problem: ClassVar[ProblemType] = ProblemType.NOT_ALLOWED

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False, repr=False)
class NotPermitted(TrainerdError):
    """The caller is neither the owner of the daemon nor root."""

    owner: str
    path: str | None = None  # its home, where that is not plain
    problem: ClassVar[ProblemType] = ProblemType.NOT_PERMITTED

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        who = "root" if self.owner == "root" else f"{self.owner} and root"
        return f"{place}this daemon belongs to {self.owner}; only {who} may give it orders"


@dataclass(eq=False, repr=False)
class UsageError(TrainerdError):
    """The order itself is malformed."""

    message: str
    problem: ClassVar[ProblemType] = ProblemType.USAGE

    def __str__(self) -> str:
        return self.message


# What the machine has to mend: disk, socket, other processes.


@dataclass(eq=False, repr=False)
class Unreachable(TrainerdError):
    """The daemon, or the process of it that is needed, does not answer."""

    message: str
    problem: ClassVar[ProblemType] = ProblemType.UNREACHABLE

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False, repr=False)
class StateAway(Unreachable):
    """The state is lost, or is being folded anew: nobody can say now how the runs stand. Ask again in a moment."""

    message: str = "the daemon's state is being rebuilt from its logs; runs go on meanwhile"


@dataclass(eq=False, repr=False)
class DiskError(TrainerdError):
    """A file of the daemon or of a run cannot be written or read."""

    message: str
    path: str
    problem: ClassVar[ProblemType] = ProblemType.DISK

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(eq=False, repr=False)
class Damaged(DiskError):
    """A file of the daemon is gone, or holds what nobody of the daemon has written."""


@dataclass(eq=False, repr=False)
class AlreadyRunning(TrainerdError):
    """Another process holds the place that this one wanted."""

    what: str
    path: str
    pid: int | None = None
    problem: ClassVar[ProblemType] = ProblemType.NOT_ALLOWED

    def __str__(self) -> str:
        holder = f" (process {self.pid})" if self.pid else ""
        return f"another {self.what} already runs on {self.path}{holder}"


_ANEW = "start it anew with: trainctl retry --from-start"


@dataclass(eq=False, repr=False)
class CorruptCheckpoint(TrainerdError):
    """A run has checkpoints and none verifies, or they are gone. It never starts again from step 0 in silence."""

    directory: str
    damage: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.damage:
            return f"{self.directory}: its checkpoints are gone; {_ANEW}"
        named = "; ".join(f"{name}: {why}" for name, why in self.damage.items())
        return f"{self.directory}: no checkpoint verifies ({named}); {_ANEW}"


@dataclass(eq=False, repr=False)
class Diverged(TrainerdError):
    """The training loss is not finite any more."""

    step: int
    loss: float

    def __str__(self) -> str:
        return f"the loss became {self.loss} at step {self.step}"


def describe(error: BaseException) -> dict[str, Any]:
    """The error as an application/problem+json document (RFC 9457)."""
    kind = error.problem if isinstance(error, TrainerdError) else ProblemType.FAILED
    findings = error.findings if isinstance(error, SpecificationRefused) else []
    document: dict[str, Any] = {
        "type": f"urn:trainerd:problem:{kind.slug}",
        "title": kind.slug.replace("-", " "),
        "status": kind.http_status,
        "detail": str(error) if isinstance(error, TrainerdError) else f"{type(error).__name__}: {error}",
        "exit_code": int(kind.exit_code),
    }
    if findings:
        document["findings"] = [finding.to_json() for finding in findings]
    return document
