"""A worker host without processes: it takes the real messages, keeps the real rules and records ends as the real one.

It checks what it is told: never two trainers of one run, never more trainers than slots, no GPU twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.machines.simulated_trainer import SimulatedTrainer
from trainerd.contracts.messages import Kill, Message, Quit, Refused, Running, Start
from trainerd.contracts.run_directory import RunDirectory
from trainerd.supervisor.worker_link import WorkerLink
from trainerd.worker.ending import read_last_attempt, record_abandoned_end, record_end


class SimulatedHost:
    """What a worker host is to a supervisor. `die` takes every trainer with it; `start` begins a new host."""

    def __init__(self, slots: int) -> None:
        self.trainers: dict[int, SimulatedTrainer] = {}  # by run; also those that are gone and not reaped yet
        self.is_up = True
        self._slots = slots
        self._waiting: dict[int, Start] = {}
        self._newest_attempt: dict[int, int] = {}
        self._link: SimulatedLink | None = None

    def start(self) -> None:
        self.is_up = True

    def die(self) -> None:
        """SIGKILL to the host: nobody records an end, and nobody is told."""
        self.is_up = False
        self.trainers.clear()
        self._waiting.clear()
        self._newest_attempt.clear()
        self.lose_supervisor()

    def lose_supervisor(self) -> None:
        if self._link is not None:
            self._link.is_broken = True
        self._link = None

    def admit(self, link: SimulatedLink) -> None:
        self._link = link
        for run in self._waiting:
            del self._newest_attempt[run]
        self._waiting.clear()
        self._report()

    def receive(self, message: Message) -> None:
        match message:
            case Start():
                self._order_start(message)
            case Kill():
                self._order_kill(message)
            case Quit():
                assert not self.trainers, "told to end while trainers live"
                self.die()

    def begin_waiting(self) -> None:
        """Fork what was ordered and can start."""
        for start in [start for run, start in self._waiting.items() if run not in self.trainers]:
            del self._waiting[start.run]
            record_abandoned_end(RunDirectory(Path(start.run_dir)))
            self.trainers[start.run] = SimulatedTrainer(start)
            self._report()

    def reap(self) -> None:
        """Write down the ends of those that are gone, and tell."""
        for run, trainer in [(run, trainer) for run, trainer in self.trainers.items() if not trainer.lives]:
            directory = RunDirectory(Path(trainer.start.run_dir))
            record_end(directory, trainer.start.attempt, trainer.exit_code, trainer.signal)
            del self.trainers[run]
            self._report()

    def _order_start(self, start: Start) -> None:
        if any(known.run == start.run and known.attempt == start.attempt for known in self._starts()):
            return
        assert start.run not in self.trainers, f"a second trainer of run {start.run} is ordered"
        last = read_last_attempt(RunDirectory(Path(start.run_dir)).events)
        newest = self._newest_attempt.get(start.run, 0)
        if not newest and last.number == start.attempt and not last.has_ended:
            record_abandoned_end(RunDirectory(Path(start.run_dir)))
            self._report()
        elif start.attempt <= max(newest, last.number):
            self._tell(Refused(f"attempt {start.attempt} is not newer than {newest}", start.run, start.attempt))
        else:
            self._newest_attempt[start.run] = start.attempt
            self._waiting[start.run] = start
            self._check_what_runs_share()

    def _check_what_runs_share(self) -> None:
        starts = list(self._starts())
        assert len(starts) <= self._slots, f"more trainers than slots: {starts}"
        gpus = [uuid for start in starts for uuid in start.gpus]
        assert len(gpus) == len(set(gpus)), f"a GPU is given twice: {starts}"

    def _order_kill(self, kill: Kill) -> None:
        trainer, waiting = self.trainers.get(kill.run), self._waiting.get(kill.run)
        if trainer and trainer.start.attempt == kill.attempt:
            trainer.die()
        if waiting and waiting.attempt == kill.attempt:
            del self._waiting[kill.run]
            self._tell(Refused("killed before it had begun", kill.run, kill.attempt))

    def _starts(self) -> Iterable[Start]:
        return [*self._waiting.values(), *(trainer.start for trainer in self.trainers.values())]

    def _report(self) -> None:
        living = [{"run": run, "attempt": one.start.attempt, "pid": one.pid} for run, one in self.trainers.items()]
        self._tell(Running(living))

    def _tell(self, message: Message) -> None:
        if self._link is not None:
            self._link.told.append(message)


class SimulatedLink(WorkerLink):
    """The supervisor's end, with a list in place of the socket."""

    def __init__(self, host: SimulatedHost, epoch: int) -> None:
        super().__init__(Path("no socket"), epoch)
        self.told: list[Message] = []
        self.is_broken = False
        self._host = host

    def hear(self) -> None:
        if self.is_broken:
            self.is_broken = False
            self.told.clear()
            self.close()
        if self._connection is None and self._host.is_up:
            self._connection = _Wire()  # type: ignore[assignment]
            self._host.admit(self)
        while self.told:
            self._understand(self.told.pop(0))

    def _say(self, message: Message) -> None:
        if self._connection is not None and not self.is_broken:
            self._host.receive(message)


class _Wire:
    def close(self) -> None: ...
