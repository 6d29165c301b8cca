"""A trainer without torch: it looks at its orders page with the product's own eyes, and writes what trainers write."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from trainerd.contracts.journal import Event, Journal, read_journal
from trainerd.contracts.messages import Start
from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.pages import Order, OrdersPage
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Exactness
from trainerd.training.orders import Asked, Orders

STEPS_PER_EPOCH = 2
TOTAL_STEPS = 5
_pids = count(1000)
_OBEYED = {
    Order.STOP: ("stopped", "user_stop"),
    Order.STOP_WITHOUT_CHECKPOINT: ("stopped", "user_stop"),
    Order.PAUSE: ("paused", None),
    Order.INTERRUPT: ("interrupted", None),
}


class SimulatedTrainer:
    """One attempt of a run. Each method is something that a trainer may do, or that may be done to it."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.pid = next(_pids)
        self.is_open = False
        self.has_said_its_last_word = False
        self.exit_code: int | None = None  # both None: it lives
        self.signal: int | None = None
        self._directory = RunDirectory(Path(start.run_dir))
        self._orders = Orders(OrdersPage(self._directory.orders_page), start.settled_order)
        self._pin: Asked | None = None  # a checkpoint order that is not obeyed yet
        self._newest_pin = 0  # the newest that is
        self._step = 0

    def work(self) -> None:
        """Whatever comes next: open the run, take a step and look at the orders, or exit."""
        if not self.lives:
            return
        if self.has_said_its_last_word:
            self.exit()
        elif not self.is_open:
            self._open()
        else:
            self.take_step()
            self._look_at_the_orders()
            if self._step >= TOTAL_STEPS:
                self.finish()

    def take_step(self) -> None:
        """One step, without a look at the orders: the next look is late."""
        if not self._trains:
            return
        self._step += 1
        if self._step == self._resumed_from + 1:
            self._say(Event.FIRST_STEP, step=self._step)
        if self._step % STEPS_PER_EPOCH == 0:
            losses: dict[str, Any] = {"train_loss": 0.5, "val_loss": None, "metrics": {}, "best": None}
            self._say(Event.EPOCH, epoch=self._epoch, step=self._step, seconds=0.1, epochs_since_best=None, **losses)

    def save(self) -> None:
        """Commit a periodic checkpoint."""
        if self._trains and self._step:
            self._commit("periodic")

    def receive_sigterm(self) -> None:
        self._orders.interrupt()

    def finish(self) -> None:
        """Come to the end of the training, whatever has been ordered meanwhile."""
        if self._trains:
            self._look_for_pin()
            self._commit("last")
            self._say_last_word("completed", "finished", exit_code=0)

    def fail(self) -> None:
        """Meet something that no retry mends."""
        if self.lives and not self.has_said_its_last_word:
            self._say_last_word("failed", "data_error", exit_code=1, error="rows are missing")

    def raise_an_error(self) -> None:
        """Meet something that a retry may mend."""
        if self.lives and not self.has_said_its_last_word:
            self._say_last_word(CRASHED, "error", exit_code=1, error="RuntimeError")

    def meet_a_full_disk(self) -> None:
        """Save in the room that was kept back, and wait for more."""
        if self._trains:
            self._commit("last")
            self._say_last_word("blocked", "disk_full", exit_code=75, error="full", needed_bytes=1)

    def exit(self) -> None:
        """Go, after the last word."""
        if self.lives:
            self.exit_code = self._exit_code_said if self.has_said_its_last_word else 1

    def die(self) -> None:
        """SIGKILL, from whomever."""
        if self.lives:
            self.signal = 9

    def is_asked_to_end(self) -> bool:
        return self._orders.ending() is not None

    def is_asked_for_checkpoint(self, number: int) -> bool:
        """Whether it knows of the order of this number, or has obeyed it."""
        self._look_for_pin()
        return number <= (self._pin.number if self._pin else self._newest_pin)

    @property
    def lives(self) -> bool:
        return self.exit_code is None and self.signal is None

    @property
    def _trains(self) -> bool:
        return self.lives and self.is_open and not self.has_said_its_last_word

    @property
    def _epoch(self) -> int:
        return self._step // STEPS_PER_EPOCH

    def _open(self) -> None:
        self.is_open = True
        self._resumed_from = self._step = self._newest_checkpoint()
        facts = {"steps_per_epoch": STEPS_PER_EPOCH, "monitor": None, "gpus": self.start.gpus}
        self._say(Event.STARTED, pid=self.pid, **facts)
        if self._step:
            self._say(Event.RESUMED, step=self._step, epoch=self._epoch, checkpoint="", exactness=Exactness.EXACT)

    def _newest_checkpoint(self) -> int:
        events = [line.event for line in read_journal(self._directory.events)]
        return max((event["step"] for event in events if event.get("event") == Event.CHECKPOINT), default=0)

    def _look_at_the_orders(self) -> None:
        self._look_for_pin()
        ending = self._orders.ending()
        if ending is None and self._pin is not None:
            self._commit("pinned")
        elif ending is not None:
            self._obey(ending.order)

    def _look_for_pin(self) -> None:
        self._pin = self._orders.take_checkpoint_order() or self._pin

    def _obey(self, order: Order) -> None:
        self._say(Event.ASKED, order=order.name.lower(), step=self._step)
        if order is not Order.STOP_WITHOUT_CHECKPOINT:
            self._commit("last")
        state, reason = _OBEYED[order]
        self._say_last_word(state, reason, exit_code=75)

    def _commit(self, kind: str) -> None:
        order = self._pin.number if self._pin and kind != "periodic" else None
        self._say(Event.CHECKPOINT, step=self._step, epoch=self._epoch, path="", bytes=1, kind=kind, order=order)
        if order is not None:
            self._pin, self._newest_pin = None, order

    def _say_last_word(
        self, state: str, reason: str | None, *, exit_code: int, error: str | None = None, **facts: Any
    ) -> None:
        word = {"state": state, "reason": reason, "error": error, "monitor": None, "model": None, **facts}
        self._say(Event.FINISHING, step=self._step, epoch=self._epoch, **word)
        self.has_said_its_last_word = True
        self._exit_code_said = exit_code

    def _say(self, event: Event, **fields: Any) -> None:
        with closing(Journal(self._directory.events, self.start.attempt)) as journal:
            journal.record(event, **fields)
