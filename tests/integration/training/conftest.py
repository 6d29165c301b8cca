"""Runs that train in this process: a real run directory, real pages, real files; no daemon."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from trainerd.config import compose, spec_to_yaml
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.pages import Order, OrdersPage, PulseWriter, create_pages
from trainerd.contracts.run_directory import RunDirectory
from trainerd.training.trainer import run_trainer


@dataclass
class TrialRun:
    """One run directory, and attempts of it."""

    directory: RunDirectory
    attempt: int = 0
    orders_given: int = 0

    def train(self, accepted_data: str | None = None) -> int:
        """Run the next attempt to its end; its exit code."""
        self.attempt += 1
        return run_trainer(
            self.directory,
            attempt=self.attempt,
            settled_order=self.orders_given,
            accepted_data=accepted_data,
            say=lambda _line: None,
        )

    def train_until(self, step: int, order: Order, accepted_data: str | None = None) -> int:
        """Run the next attempt, giving `order` on its page the moment that it beats at `step`; its exit code."""
        number = self.orders_given + 1
        orders = OrdersPage(self.directory.orders_page, writable=True)
        beat = PulseWriter.beat

        def beat_and_order(pulse: PulseWriter, at_step: int) -> None:
            beat(pulse, at_step)
            if at_step == step:
                orders.give(order, number)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PulseWriter, "beat", beat_and_order)
            exit_code = self.train(accepted_data)
        self.orders_given = number
        return exit_code

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in read_lines(self.directory.events)[0] if event["event"] == name]

    def metrics(self) -> list[dict[str, Any]]:
        """All metric lines without what is true of one attempt only."""
        lines = read_lines(self.directory.metrics)[0]
        return [
            {key: value for key, value in line.items() if key not in ("time", "samples_per_second")} for line in lines
        ]


MakeRun = Callable[..., TrialRun]


@pytest.fixture(autouse=True)
def _keep_process_globals() -> Iterator[None]:
    """Trainers own their process: give signals, threads and determinism back afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """make_run(yaml, name="run", overrides=()) -> TrialRun, in the test's own folder."""
    return make_run_in(tmp_path)


@pytest.fixture(scope="module")
def make_shared_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """The same for runs that several tests of a module look at."""
    return make_run_in(tmp_path_factory.mktemp("shared"))


def make_run_in(folder: Path) -> MakeRun:
    def make(yaml: str, name: str = "run", overrides: tuple[str, ...] = ()) -> TrialRun:
        directory = RunDirectory(folder / name)
        directory.path.mkdir()
        composed = compose(folder / "trial.yaml", yaml, overrides)
        directory.spec.write_text(spec_to_yaml(composed.spec))
        create_pages(directory.orders_page, directory.pulse_page)
        return TrialRun(directory)

    return make
