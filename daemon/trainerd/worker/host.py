"""The worker host's loop: one thread, one selector, and a fork for everything that could block or crash.

It owns worker.sock and the children; it writes ends into journals, after reaping. It never touches CUDA, imports no
user code, and decides nothing about a run beyond what the supervisor ordered.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

from trainerd.contracts.messages import Connection, Inspect, Kill, Message, Quit, Refused, Running, Start, Supervise
from trainerd.contracts.processes import living_children_of
from trainerd.worker.child import Child
from trainerd.worker.inspections import Inspections
from trainerd.worker.liveness import LOOK_SECONDS, Health
from trainerd.worker.orphans import kill_orphan, peek_at_end
from trainerd.worker.trainers import Trainers

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 5.0
_UNSETTLED_SECONDS = 0.01
_DIES_WITHIN_SECONDS = 10.0  # a process that has been killed; beyond that the other runs wait for it no longer
_PEER_READS_WITHIN_SECONDS = 2.0


class WorkerHost:
    """Serves one listening socket until it is told to end. Call `serve` once, from the main thread."""

    def __init__(
        self, listener: socket.socket, trainers: Trainers, inspections: Inspections, *, grace_seconds: float
    ) -> None:
        self._listener = listener
        self._trainers = trainers
        self._inspections = inspections
        self._grace_seconds = grace_seconds
        self._selector = selectors.DefaultSelector()
        self._supervisor: Connection | None = None
        self._highest_epoch = 0
        self._is_ending = False
        self._is_unreachable = False
        self._may_be_left_behind = False  # a child has ended, and perhaps has left processes behind
        self._killed_at: dict[int, float] = {}  # what was left behind and does not die at once: time.monotonic() by PID
        self._look_at = 0.0  # time.monotonic() from which the next look at the trainers is due
        self._kill_at: float | None = None  # time.monotonic(), once told by a signal to end

    def serve(self) -> None:
        """Take orders and watch children until told to end, and no trainer is left."""
        wake_up = self._wake_up_on_signals()
        self._watch(self._listener, self._accept)
        while not self._is_done():
            self._hear()
            self._inspections.kill_late()
            self._kill_after_grace()
            self._kill_left_behind()
            self._settle_ended()
            self._begin_waiting()
            self._look_at_trainers()
            self._reap_orphans()
        signal.set_wakeup_fd(-1)
        wake_up.close()

    def _is_done(self) -> bool:
        """Told to end, and no trainer left; after the grace, an end that the disk refuses is left to the next host."""
        over = -1.0 if self._kill_at is None else time.monotonic() - self._kill_at
        if over >= 0 and not self._trainers.living():  # with what they have left behind gone, their ends are recorded
            return not self._may_be_left_behind or over >= _DIES_WITHIN_SECONDS
        return self._is_ending and self._trainers.is_empty() and not self._may_be_left_behind

    def _end(self) -> None:
        self._is_ending = True
        self._trainers.forget_waiting()

    # Signals: the handler only wakes the selector.

    def _wake_up_on_signals(self) -> socket.socket:
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        signal.set_wakeup_fd(sender.detach())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._watch(receiver, lambda: self._end_on_signal(receiver))
        return receiver

    def _end_on_signal(self, receiver: socket.socket) -> None:
        """Have every trainer commit a checkpoint and end; kill what has not ended after the grace period."""
        number = receiver.recv(1)[0]
        if self._kill_at is None:
            _log.info("%s: ending with %d trainers", signal.Signals(number).name, len(self._trainers.living()))
            self._end()
            self._kill_at = time.monotonic() + self._grace_seconds
            self._trainers.signal_all(signal.SIGTERM)

    def _kill_after_grace(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._trainers.cut_off(self._grace_seconds)

    # Connections.

    def _hear(self) -> None:
        for key, _ in self._selector.select(self._patience_seconds()):
            key.data()

    def _patience_seconds(self) -> float:
        """How long nothing but an event can be due."""
        if self._may_be_left_behind or self._trainers.is_unsettled():
            return _UNSETTLED_SECONDS
        waits = [LOOK_SECONDS if self._trainers.living() else _IDLE_SECONDS, self._inspections.seconds_left()]
        if self._kill_at is not None and (left := self._kill_at - time.monotonic()) > 0:
            waits.append(left)
        # What is killed late may take its time to die (waiting for a disk, say): no reason to spin meanwhile.
        return max(_UNSETTLED_SECONDS, min(wait for wait in waits if wait is not None))

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # no descriptors left, for instance: whoever calls waits, and the trainers train on
            if not self._is_unreachable:
                _log.warning("nobody can connect now: %s", error)
            self._is_unreachable = True
            time.sleep(_UNSETTLED_SECONDS)
            return
        self._is_unreachable = False
        sock.settimeout(_PEER_READS_WITHIN_SECONDS)
        peer = Connection(sock)
        self._watch(peer, lambda: self._read(peer))

    def _read(self, peer: Connection) -> None:
        try:
            messages = peer.receive_available()
            for message in messages or ():
                self._obey(peer, message)
        except (OSError, ValueError) as error:
            _log.warning("a connection is closed: %s", error)
            messages = None
        if messages is None:
            self._drop(peer)

    def _obey(self, peer: Connection, message: Message) -> None:
        match message:
            case Supervise():
                self._admit_supervisor(peer, message.epoch)
            case Inspect():
                self._inspect(peer, message)
            case Start() | Kill() | Quit() if peer is not self._supervisor:
                peer.send(Refused("this connection does not supervise"))
            case Start():
                self._order_start(message)
            case Kill():
                self._order_kill(message.run, message.attempt)
            case Quit():
                self._end()
            case _:
                peer.send(Refused(f"a worker host takes no {message.type}"))

    def _admit_supervisor(self, peer: Connection, epoch: int) -> None:
        """The newest supervisor alone gives orders; one with a lower epoch was replaced and is shut out."""
        if epoch < self._highest_epoch:
            peer.send(Refused(f"epoch {epoch} is over: epoch {self._highest_epoch} supervises"))
            self._drop(peer)
            return
        if self._supervisor and self._supervisor is not peer:
            self._drop(self._supervisor)
        self._highest_epoch = epoch
        self._supervisor = peer
        self._trainers.forget_waiting()  # it is not told of these, and so would take them for dead
        self._report()

    def _inspect(self, peer: Connection, request: Inspect) -> None:
        self._forget(peer)
        child = self._inspections.begin(request, peer)
        if child:
            self._watch_child(child, partial(self._inspections.end, child.pid))

    def _order_start(self, start: Start) -> None:
        if self._is_ending:
            self._refuse(Refused("the worker host is ending"))
        elif why := self._trainers.order_start(start):
            self._refuse(Refused(why, start.run, start.attempt))
        elif any(living.start == start for living in self._trainers.living()):
            self._report()  # the same order again; a new one is reported once it lives

    def _order_kill(self, run: int, attempt: int) -> None:
        if self._trainers.order_kill(run, attempt):
            self._refuse(Refused(f"run {run}: attempt {attempt} was killed before it had begun", run, attempt))

    def _refuse(self, refused: Refused) -> None:
        _log.warning("refused: %s", refused.why)
        if self._supervisor:
            self._supervisor.send(refused)

    def _drop(self, peer: Connection) -> None:
        if peer is self._supervisor:
            self._supervisor = None
        self._forget(peer)
        peer.close()

    # Children.

    def _begin_waiting(self) -> None:
        begun = self._trainers.begin_waiting()
        for trainer in begun:
            self._watch_child(trainer.child, partial(self._trainers.note_end, trainer.start.run))
        if begun:
            self._report()

    def _look_at_trainers(self) -> None:
        """Tell the supervisor where one has stalled, or makes progress again; one that hangs is killed."""
        at = time.monotonic()
        if at < self._look_at:
            return
        self._look_at = at + LOOK_SECONDS
        if self._trainers.look(at):
            self._report()

    def _kill_left_behind(self) -> None:
        """Kill what ended children have left behind, whatever sessions it has made for itself.

        A living child keeps all its descendants, for it is a subreaper: whom the host has not forked, no one owns.
        """
        if not self._may_be_left_behind:
            return
        try:
            left_behind = [pid for pid in living_children_of(os.getpid()) if not self._is_ours(pid)]
        except OSError:  # nobody can tell now: no descriptors left, for instance
            return
        now = time.monotonic()
        self._killed_at = {pid: self._killed_at.get(pid, now) for pid in left_behind if kill_orphan(pid)}
        dying = [pid for pid, killed_at in self._killed_at.items() if now - killed_at < _DIES_WITHIN_SECONDS]
        self._may_be_left_behind = bool(dying)  # what they had started comes next
        if self._killed_at and not dying:
            _log.warning("processes %s, which have been killed, do not die: a device may hold them", [*self._killed_at])

    def _settle_ended(self) -> None:
        """No end is recorded while anything of it may live."""
        if not self._may_be_left_behind and self._trainers.settle_ended():
            self._report()

    def _reap_orphans(self) -> None:
        """Reap what trainers have left to this subreaper; a child of its own stops it: its turn comes by its pidfd."""
        while end := peek_at_end():
            if self._is_ours(end):
                return
            os.waitid(os.P_PID, end, os.WEXITED)

    def _is_ours(self, pid: int) -> bool:
        """Whether it is a trainer or an inspector, and not an orphan that has fallen to this host."""
        return self._trainers.has_child(pid) or self._inspections.has_child(pid)

    def _report(self) -> None:
        """Tell the supervisor what lives; one that does not read is dropped, and asks again when it comes back."""
        if self._supervisor is None:
            return
        known = self._trainers.unfinished()
        trainers = [
            {
                "run": one.start.run,
                "attempt": one.start.attempt,
                "pid": one.child.pid,
                "stalled": int(one.watch.health is not Health.FINE),
            }
            for one in known
        ]
        try:
            self._supervisor.send(Running(trainers))
        except OSError as error:
            _log.warning("the supervisor does not listen: %s", error)
            self._drop(self._supervisor)

    # The selector.

    def _watch(self, source: socket.socket | Connection | Child, act: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _watch_child(self, child: Child, act_on_end: Callable[[], None]) -> None:
        def forget_and_act() -> None:
            self._selector.unregister(child)
            self._may_be_left_behind = True
            act_on_end()

        self._watch(child, forget_and_act)

    def _forget(self, connection: Connection) -> None:
        if any(key.fileobj is connection for key in self._selector.get_map().values()):
            self._selector.unregister(connection)
