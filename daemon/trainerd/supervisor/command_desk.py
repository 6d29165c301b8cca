"""Applies new commands, each once and in order, and answers each: decides by `apply`, and carries the decision out.

What is done to run directories comes before the commit that answers the command, and may be done twice without harm.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.durable_files import replace_durably
from trainerd.contracts.errors import DiskError, describe
from trainerd.contracts.journal import Event
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED
from trainerd.store.command_log import CommandLogReader
from trainerd.store.removals import removals_of_log
from trainerd.supervisor.apply import Birth, Effects, Situation, apply_command
from trainerd.supervisor.attempt_end import end_without_directory
from trainerd.supervisor.endings import record_end
from trainerd.supervisor.journal_folding import JournalFolding
from trainerd.supervisor.journals import append_once, happened_behind
from trainerd.supervisor.orders import give_order
from trainerd.supervisor.removal import Deletion, set_aside
from trainerd.supervisor.run_birth import bear_run, find_newest_proven, unmake_run, was_born
from trainerd.supervisor.run_book import RunBook

_log = logging.getLogger(__name__)
_BATCH = 100  # commands between two commits
_TOLD = frozenset({Event.MOVED, Event.REQUEUED})  # orders that rest on other runs than their own
_LASTING_TROUBLE = (FileNotFoundError, NotADirectoryError, PermissionError, ValueError)  # of one run directory


class CommandDesk:
    """Between the command log and the run book."""

    def __init__(
        self, home: Home, commands: CommandLogReader, book: RunBook, journals: JournalFolding, gpu_count: int
    ) -> None:
        self._home = home
        self._commands = commands
        self._book = book
        self._journals = journals
        self._situation = Situation(
            book.look_up,
            lambda run_id: was_born(self._directory(run_id)),
            gpu_count,
            newest_proven=find_newest_proven(home.runs, commands.get),
            waiting=book.waiting,
            removed_by=removals_of_log(home.runs, commands.get).get,
            was_carried_out=self._was_carried_out,
        )
        self._deletion = Deletion(home.runs)

    def apply_new_commands(self) -> None:
        """Apply every command that is not answered yet; commits on the way where there are many.

        Raises DiskError where one cannot be carried out now: what came before it is answered, it stays pending.
        """
        while commands := self._commands.after(self._book.applied_position, _BATCH):
            for command in commands:
                try:
                    self._apply(command)
                except DiskError:
                    self._book.commit()
                    raise
            if len(commands) == _BATCH:
                self._book.commit()

    def delete_removed(self) -> None:
        """Delete what removed runs have left, now that the state has forgotten them."""
        self._deletion.go_on()

    def _apply(self, command: Command) -> None:
        for run_id in self._concerned(command):
            self._journals.fold_run(run_id, until=command)
        effects = self._effects_of(command)
        problem = effects.problem or self._carry_out(effects, command)
        if problem:
            _log.info("command %d (%s): refused: %s", command.number, command.kind, problem["detail"])
        else:
            self._note(effects, command)
        self._book.answer(command.number, problem)

    def _concerned(self, command: Command) -> list[int]:
        """The runs on whose states the decision rests: what had happened to them by then has to be known."""
        named = {command.body.get("run"), command.body.get("before")} - {None}
        if command.kind is CommandKind.SUBMIT:
            named |= {run["after"] for run in command.body["runs"]}
        if command.kind in (CommandKind.MOVE, CommandKind.REMOVE):
            named |= {record.id for record in self._book.waiting()}
        if command.kind is CommandKind.RETRY:
            record = self._book.look_up(command.body["run"])
            named |= {record.after} if record and record.after is not None else set()
        return sorted(run_id for run_id in named if run_id is not None)

    def _effects_of(self, command: Command) -> Effects:
        """What it does: nothing more where it has been carried out before, and the journals tell what it did."""
        if command.kind is CommandKind.MOVE and self._was_carried_out(command):
            return Effects()
        return self._without_lost_directories(apply_command(command, self._situation), command)

    def _was_carried_out(self, command: Command) -> bool:
        """Whether the run's journal tells of this move or retry: its line is the last thing that such an order does."""
        run_id = command.body["run"]
        try:
            behind = happened_behind(self._directory(run_id), self._book.offset(run_id), besides=frozenset())
        except OSError as error:
            _log.warning("run %d: its journal cannot be read: %s", run_id, error)
            return False
        return any(event.get("event") in _TOLD and event.get("command") == command.number for event in behind)

    def _without_lost_directories(self, effects: Effects, command: Command) -> Effects:
        """The effects where a run that should be asked for something has no directory any more: it just ends."""
        lost = {run_id for run_id, _ in effects.orders if not self._directory(run_id).path.exists()}
        return replace(
            effects,
            orders=tuple(order for order in effects.orders if order[0] not in lost),
            changed=tuple(
                end_without_directory(record, command.time) if record.id in lost else record
                for record in effects.changed
            ),
        )

    def _carry_out(self, effects: Effects, command: Command) -> dict[str, Any] | None:
        """Do to the run directories what the command wants, or nothing, and say why.

        Raises DiskError where an order to a run fails for want of something, such as room on the disk: a refusal would
        stand in the state alone, and whoever folds it anew would carry the order out.
        """
        try:
            self._bear(effects.born, command)
            for run_id, text in effects.specs:
                replace_durably(self._directory(run_id).spec, text)
            for run_id, order in effects.orders:
                give_order(self._directory(run_id), order, command.number)
            for run_id in effects.removed:
                set_aside(self._home.runs, run_id, command.number)
        except (OSError, ValueError) as error:
            path = getattr(error, "filename", None) or self._home.runs
            trouble = DiskError(getattr(error, "strerror", None) or str(error), str(path))
            if command.kind is not CommandKind.SUBMIT and not isinstance(error, _LASTING_TROUBLE):
                raise trouble from error
            return describe(trouble)
        return None

    def _bear(self, births: tuple[Birth, ...], command: Command) -> None:
        """Make the directories of all runs of a submit, or of none. Raises OSError."""
        new = [birth for birth in births if not was_born(self._directory(birth.record.id))]
        try:
            for birth in new:
                bear_run(self._directory(birth.record.id), birth, command)
        except OSError:
            for birth in new:
                unmake_run(self._directory(birth.record.id))
            raise

    def _note(self, effects: Effects, command: Command) -> None:
        for birth in effects.born:
            self._book.put(birth.record)
            self._journals.look_at(birth.record.id)
        for record in effects.changed:
            self._book.put(record)
            if record.state in ENDED:
                self._record_end(record, command)
            elif command.kind is CommandKind.MOVE:
                self._tell(record, command, Event.MOVED, priority=record.priority, place=record.place)
            elif command.kind is CommandKind.RETRY and record.waits_for_another:
                self._tell(record, command, Event.REQUEUED)
        for run_id in effects.removed:
            self._book.remove(run_id)
            self._deletion.ask_for()

    def _record_end(self, record: RunRecord, command: Command) -> None:
        if not self._directory(record.id).path.exists():
            return
        with self._journals.tolerating_disk_trouble(record.id):
            offset = self._book.offset(record.id)
            record_end(self._directory(record.id), record, offset, command.time, command=command.number)

    def _tell(self, record: RunRecord, command: Command, event: Event, **fields: Any) -> None:
        """In its journal, because what the order rested on may be forgotten by the time the state is folded anew."""
        with self._journals.tolerating_disk_trouble(record.id):
            offset = self._book.offset(record.id)
            append_once(self._directory(record.id), record.attempt, offset, event, command.number, **fields)

    def _directory(self, run_id: int) -> RunDirectory:
        return RunDirectory(self._home.run(run_id))
