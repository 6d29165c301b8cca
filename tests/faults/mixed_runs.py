"""Runs in every state that a daemon knows for longer than a moment, each brought there in the way that people do it.

Two of them stand still with an order on its way: their trainers are stopped (SIGSTOP), so that nothing moves on.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from raw_client import Json, RawClient

from tests.polling import poll
from trainerd.contracts.states import State

SLOTS = 3
_SHORT = """\
name: short
data: {kind: synthetic, samples: 64, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 32}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 2, device: cpu}
resources: {cpus: 1}
retry: {max_failures: 2, backoff_seconds: 0.1}
"""
_ENDLESS = _SHORT.replace("short", "endless").replace("max_epochs: 2", "max_epochs: 1000000")
CRASHING = _SHORT.replace("short", "crashing").replace(
    "{name: mlp, args: {hidden: [8]}}", '{target: "crashing_net:Net", args: {in_features: 8, out_features: 1}}'
)
CRASHING_NET = """\
import os
import torch


class Net(torch.nn.Linear):
    def forward(self, x_BF):
        float(x_BF.sum())  # no fake tensor gets beyond this
        os.kill(os.getpid(), 9)
"""


class MixedRuns:
    """Makes them on a daemon with SLOTS slots, by their names in `ids`."""

    def __init__(self, client: RawClient, folder: Path) -> None:
        self.ids: dict[str, int] = {}
        self._client = client
        self._folder = folder
        self._stopped: list[int] = []
        (folder / "crashing_net.py").write_text(CRASHING_NET)
        for name, text in (("short", _SHORT), ("endless", _ENDLESS), ("crashing", CRASHING)):
            (folder / f"{name}.yaml").write_text(text)

    def make(self) -> None:
        self._make_what_has_ended()
        self._make_what_has_gone_on()
        self._submit("endless", "free")
        self._await("free", State.RUNNING)
        self._make_what_stands_still()
        self._make_what_waits()

    def show(self, name: str) -> Json:
        return self._client.get(f"/v1/runs/{self.ids[name]}").document

    def let_go(self) -> None:
        """Every trainer may move again."""
        for pid in self._stopped:
            os.kill(pid, signal.SIGCONT)

    def _make_what_has_ended(self) -> None:
        self._submit_all("short", "completed", "removed")
        self._submit_all("crashing", "crashing", "crashing and retried")
        for name in ("completed", "removed"):
            self._await(name, State.COMPLETED)
        for name in ("crashing", "crashing and retried"):
            self._await(name, State.FAILED)
        self._order("crashing and retried", "retry")
        self._order("removed", "remove")
        self._submit("endless", "killed")
        self._submit("short", "dependency failed", after=self.ids["killed"], hold=True)
        self._order("dependency failed", "resume")
        self._submit("endless", "stopped")
        for name in ("killed", "stopped"):
            self._await_steps(name)
        self._order("killed", "kill")
        self._order("stopped", "stop")
        self._submit("short", "cancelled", hold=True)
        self._order("cancelled", "cancel")
        self._await("killed", State.STOPPED)
        self._await("stopped", State.STOPPED)
        self._await("dependency failed", State.CANCELLED)
        poll(lambda: self.show("crashing and retried")["attempt"] == 4, "the retried run has started again")
        self._await("crashing and retried", State.FAILED)

    def _make_what_has_gone_on(self) -> None:
        self._submit_all("endless", "paused", "resumed twice")
        for attempt in (1, 2, 3):
            self._await_steps("resumed twice", attempt)
            self._order("resumed twice", "pause")
            self._await("resumed twice", State.PAUSED)
            if attempt < 3:
                self._order("resumed twice", "resume")
        self._await_steps("paused")
        self._order("paused", "pause")
        self._await("paused", State.PAUSED)

    def _make_what_stands_still(self) -> None:
        for name, verb, state in (
            ("to be checkpointed", "checkpoint", State.RUNNING),
            ("to be stopped", "stop", State.STOPPING),
        ):
            self._submit("endless", name)
            self._await_steps(name)
            pid = self.show(name)["pids"][0]
            os.kill(pid, signal.SIGSTOP)
            self._stopped.append(pid)
            self._order(name, verb)
            self._await(name, state)

    def _make_what_waits(self) -> None:
        self._submit("short", "held", hold=True)
        self._submit_all("short", "first", "second", "third", "fourth", priority=1)
        self._order("fourth", "move", before=self.ids["second"])
        self._order("third", "move", first=True)
        self._order("second", "move", priority=-3)
        self._submit("short", "after", after=self.ids["free"])

    def _submit(self, kind: str, name: str, **wishes: Any) -> None:
        self._submit_all(kind, name, **wishes)

    def _submit_all(self, kind: str, *names: str, **wishes: Any) -> None:
        """In one order, which takes less time than several."""
        each = [{"name": name.replace(" ", "-"), **wishes} for name in names]
        reply = self._client.submit(self._folder / f"{kind}.yaml", *each)
        assert reply.status == 201, reply
        self.ids |= {name: run["id"] for name, run in zip(names, reply.document["runs"], strict=True)}

    def _order(self, name: str, verb: str, **details: Any) -> None:
        reply = self._client.post(f"/v1/runs/{self.ids[name]}/{verb}", details)
        assert reply.status == 200, reply

    def _await(self, name: str, state: State) -> None:
        poll(lambda: self.show(name)["state"] == state, lambda: f"{name} is {state}: {self.show(name)}")

    def _await_steps(self, name: str, attempt: int = 1) -> None:
        """It has stepped far enough to have something to lose, in this attempt."""

        def has_stepped() -> bool:
            run = self.show(name)
            is_at_work = run["state"] == State.RUNNING and run["live"] is not None
            return is_at_work and run["attempt"] == attempt and run["step"] > 20 * attempt

        poll(has_stepped, lambda: f"{name} steps: {self.show(name)}")
